"""Texts from files: with labels from tsv, csv and jsonl, or plain; what is wrong is said with the file and the line."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

TEXT_NAMES, LABEL_NAMES = ("text", "sentence"), ("label",)
SHOWN = 6  # labels in a message


@dataclass(frozen=True)
class LabelledTexts:
    """What a file held: each text with its label as it was written, and the line on which it ends."""

    path: Path
    texts: list[str]
    labels: list[str]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.texts)

    def classes(self) -> tuple[str, ...]:
        """The labels there are, each once, numbers by size and words by the alphabet.

        Raises:
            ValueError: if there is one only, or so many that this can hardly be the column of the labels.
        """
        found = set(self.labels)
        if len(found) < 2:
            raise ValueError(f"{self.path} has the one label {self.labels[0]!r} only: a classifier needs two or more")
        if len(found) > max(20, len(self) // 4):
            raise ValueError(
                f"{self.path} has {len(found)} different labels on {len(self)} texts: is another column the label's? "
                "--text-column and --label-column say which are which"
            )
        numbers = all(label.removeprefix("-").isdecimal() for label in found)
        return tuple(sorted(found, key=lambda label: (Decimal(label), label) if numbers else (Decimal(0), label)))

    def numbered(self, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Each label as its place in `classes`: (texts,).

        Raises:
            ValueError: if one is not there, with its line.
        """
        places = {label: i for i, label in enumerate(classes)}
        for label, line in zip(self.labels, self.lines, strict=True):
            if label not in places:
                known = ", ".join(map(repr, classes[:SHOWN])) + (", ..." if len(classes) > SHOWN else "")
                raise ValueError(f"{self.path}:{line}: the label {label!r} is none of those trained on: {known}")
        return np.array([places[label] for label in self.labels], np.int64)


def read_labelled(
    path: str | os.PathLike[str], *, text_column: str | None = None, label_column: str | None = None
) -> LabelledTexts:
    """Labelled texts from a .tsv, .csv or .jsonl file in UTF-8.

    A tsv has a row on each line, its cells as they stand, between tabs; a csv may quote them. If the first line has the
    names of both columns it is a header; without one there are two columns, the text before its label, as in SST-2.

    Args:
        text_column, label_column: another name than "text" or "sentence", and "label"; or, of a file without a header,
            the number of the column, from 1.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is another kind of file or not UTF-8, columns are not there, or a text or label is empty; in
            one line, with the line of the file.
    """
    path = Path(path)
    readers = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is none of {', '.join(readers)}: labelled texts are read from these")
    texts, labels, lines = [], [], []
    wanted = (text_column, TEXT_NAMES), (label_column, LABEL_NAMES)
    for line, text, label in readers[path.suffix.lower()](path, _decoded(path), wanted):
        for what, value in (("text", text), ("label", label)):
            if not value.strip():
                raise ValueError(f"{path}:{line}: the {what} is empty")
            if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):  # as JSON can spell it
                raise ValueError(f"{path}:{line}: the {what} holds half of a character (a lone surrogate)")
        texts.append(text)
        labels.append(label.strip())
        lines.append(line)
    if not texts:
        raise ValueError(f"{path} has no texts")
    return LabelledTexts(path, texts, labels, lines)


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a plain UTF-8 text file that are not empty, to train a language model on.

    Raises:
        OSError, ValueError: as `read_labelled`; ValueError also if nothing is in it.
    """
    found = [line for line in _decoded(Path(path)).replace("\r\n", "\n").split("\n") if line.strip()]
    if not found:
        raise ValueError(f"{path} has no text")
    return found


Wanted = tuple[tuple[str | None, Sequence[str]], tuple[str | None, Sequence[str]]]
Row = tuple[int, str, str]  # the line, the text, the label


def _decoded(path: Path) -> str:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, where a file of texts was needed")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}, where texts were needed: check the spelling and the folder")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
        at = raw.find(b"\0")
    except UnicodeDecodeError as error:
        at = error.start
    if at >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise ValueError(f"{path}:{line}: not UTF-8 text (byte 0x{raw[at]:02x}): save it as UTF-8")
    return text


def _tsv(path: Path, text: str, wanted: Wanted) -> Iterator[Row]:
    # Not str.splitlines: it also cuts at U+0085 and U+2028, which occur within texts.
    rows = text.removesuffix("\n").split("\n") if text else []
    return _table(path, ((i, row.removesuffix("\r").split("\t")) for i, row in enumerate(rows, 1)), wanted)


def _csv(path: Path, text: str, wanted: Wanted) -> Iterator[Row]:
    return _table(path, _csv_rows(path, text), wanted)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    usual = csv.field_size_limit(max(len(text), 1))  # of the whole process: texts may be longer than it allows
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not csv ({error})") from None
    finally:
        csv.field_size_limit(usual)
    return iter(rows)


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], wanted: Wanted) -> Iterator[Row]:
    columns: list[int] = []
    width = 0
    for line, cells in rows:
        if not columns:
            width = len(cells)
            columns, header = _columns(path, cells, wanted)
            if header:
                continue
        if not any(cell.strip() for cell in cells):
            raise ValueError(f"{path}:{line}: the line is empty")
        if len(cells) != width:
            raise ValueError(f"{path}:{line}: {_count(len(cells))}, and the first line has {width}")
        yield line, cells[columns[0]], cells[columns[1]]


def _columns(path: Path, first: list[str], wanted: Wanted) -> tuple[list[int], bool]:
    """Where text and label are, and whether the first line is a header."""
    numbers = [int(column) for column, _ in wanted if column is not None and column.isdecimal()]
    if numbers:
        if len(numbers) < 2 or numbers[0] == numbers[1] or not all(1 <= n <= len(first) for n in numbers):
            got = " and ".join(column or "none" for column, _ in wanted)
            raise ValueError(f"{path}:1: text and label need two column numbers from 1 to {len(first)}: got {got}")
        return [n - 1 for n in numbers], False
    names = [cell.strip() for cell in first]
    found = [next((names.index(n) for n in _names(want) if n in names), -1) for want in wanted]
    if min(found) >= 0:
        if found[0] == found[1]:
            raise ValueError(f"{path}:1: text and label need a column each: got {names[found[0]]!r} for both")
        return found, True
    if max(found) >= 0 or any(column for column, _ in wanted):
        missing = next(_names(want)[0] for want, at in zip(wanted, found, strict=True) if at < 0)
        raise ValueError(f"{path}:1: there is no column {missing!r}, only {_listed(names)}")
    if len(first) != 2:
        raise ValueError(
            f"{path}:1: {_count(len(first))}, where a text and its label were needed: "
            "--text-column and --label-column say which they are"
        )
    return [0, 1], False


def _names(want: tuple[str | None, Sequence[str]]) -> Sequence[str]:
    given, usual = want
    return usual if given is None else (given,)


def _listed(names: Iterable[str]) -> str:
    """A few names, each cut: what was taken for a line of names may be a whole file."""
    names = list(names)
    return ", ".join(f"{name!r:.40}" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _count(columns: int) -> str:
    return f"{columns} column{'s' * (columns != 1)}"


def _jsonl(path: Path, text: str, wanted: Wanted) -> Iterator[Row]:
    for line, row in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        if not row.strip():
            raise ValueError(f"{path}:{line}: the line is empty")
        try:
            fields = json.loads(row)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{line}: not JSON ({error.msg} at column {error.colno})") from None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets in ...
            raise ValueError(f"{path}:{line}: not to be read as JSON ({error})") from None
        if not isinstance(fields, dict):
            raise ValueError(f"{path}:{line}: needs an object with a text and a label: got a {type(fields).__name__}")
        chosen: list[str] = []
        for given, usual in wanted:
            name = next((n for n in ((given,) if given else usual) if n in fields), None)
            if name is None:
                raise ValueError(f"{path}:{line}: there is no {given or usual[0]!r}, only {_listed(fields)}")
            chosen.append(name)
        if chosen[0] == chosen[1]:
            raise ValueError(f"{path}:{line}: text and label need a column each: got {chosen[0]!r} for both")
        values = [fields[name] for name in chosen]
        if not isinstance(values[0], str) or not isinstance(values[1], str | int):
            kinds = " and ".join(type(value).__name__ for value in values)
            raise ValueError(f"{path}:{line}: needs a string and a label, a string or a whole number: got {kinds}")
        yield line, values[0], str(values[1])
