"""Texts from files, and that whatever is wrong with one is said in one line with its place."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ft.data.labelled import LabelledTexts, read_labelled, read_lines

words = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\0\ufeff"), min_size=1).filter(str.strip)
labels = st.sampled_from(["0", "1", "good", "très bon"])
rows = st.lists(st.tuples(words, labels), min_size=1, max_size=8)


def tsv(rows):
    return "".join(f"{text}\t{label}\n" for text, label in rows)


def as_csv(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()


def jsonl(rows):
    return "".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in rows)


@given(rows=rows, suffix=st.sampled_from(["tsv", "csv", "jsonl"]), header=st.booleans(), last=st.booleans())
def test_what_was_written_is_read(tmp_path_factory, rows, suffix, header, last):
    """U+0085 and U+2028 within a text, at which str.splitlines would cut, included."""
    path = tmp_path_factory.mktemp("texts") / f"some.{suffix}"
    write = {"tsv": tsv, "csv": as_csv, "jsonl": jsonl}[suffix]
    given = [("text", "label"), *rows] if header and suffix != "jsonl" else rows
    content = write(given) if last else write(given).rstrip("\r\n")
    path.write_bytes(content.encode())
    if not header and suffix != "jsonl" and [c.strip() for c in rows[0]] in (["text", "label"], ["sentence", "label"]):
        return
    found = read_labelled(path)
    assert (found.texts, found.labels) == ([t for t, _ in rows], [label for _, label in rows])
    assert len(found) == len(rows)


def test_a_header_says_which_columns_are_which(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,label,sentence\n1,0,"bad, really"\n2,1,"two\nlines"\n', encoding="utf-8")
    found = read_labelled(path)
    assert (found.texts, found.labels, found.lines) == (["bad, really", "two\nlines"], ["0", "1"], [2, 4])
    path.write_text("stars\treview\n5\tfine\n", encoding="utf-8")
    named = read_labelled(path.rename(tmp_path / "a.tsv"), text_column="review", label_column="stars")
    assert (named.texts, named.labels) == (["fine"], ["5"])


def test_numbers_say_which_columns_are_which_without_a_header(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("7\t0\tbad\n8\t1\tgood\n", encoding="utf-8")
    found = read_labelled(path, text_column="3", label_column="2")
    assert (found.texts, found.labels) == (["bad", "good"], ["0", "1"])


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_a_text(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfgood\t1\r\nbad\t0\r\n")
    found = read_labelled(path)
    assert (found.texts, found.labels) == (["good", "bad"], ["1", "0"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\t1\n", "is none of .tsv, .csv, .jsonl"),
        ("a.tsv", b"", "has no texts"),
        ("a.tsv", b"text\tlabel\n", "has no texts"),
        ("a.tsv", b"good\t1\nbad\n", "a.tsv:2: 1 column, and the first line has 2"),
        ("a.tsv", b"good\t1\nbad\t0\t1\n", "a.tsv:2: 3 columns, and the first line has 2"),
        ("a.tsv", b"good\n", "a.tsv:1: 1 column, where a text and its label were needed"),
        ("a.tsv", b"a\tb\t1\n", "a.tsv:1: 3 columns, where a text and its label were needed"),
        ("a.tsv", b"text\tscore\ngood\t1\n", "a.tsv:1: there is no column 'label', only 'text', 'score'"),
        ("a.tsv", b"good\t1\n\nbad\t0\n", "a.tsv:2: the line is empty"),
        ("a.tsv", b"good\t1\n \t0\n", "a.tsv:2: the text is empty"),
        ("a.tsv", b"good\t1\nbad\t\n", "a.tsv:2: the label is empty"),
        ("a.tsv", b"good\t1\nb\xe9te\t0\n", "a.tsv:2: not UTF-8 text .byte 0xe9."),
        ("a.tsv", b"good\t1\nfine\t1\nb\0d\t0\n", "a.tsv:3: not UTF-8 text .byte 0x00."),
        ("a.csv", b'good,1\n"bad,0\n', "a.csv:2: not csv"),
        ("a.csv", b"good,1\n\nbad,0\n", "a.csv:2: the line is empty"),
        ("a.jsonl", b'{"text": "good", "label": 1}\n{"text": "bad"\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": "good", "label": 1}\n["bad", 0]\n', "a.jsonl:2: needs an object .*got a list"),
        ("a.jsonl", b'{"text": "good", "class": 1}\n', "a.jsonl:1: there is no 'label', only 'text', 'class'"),
        ("a.jsonl", b'{"text": "good", "label": 0.5}\n', "a.jsonl:1: .*got str and float"),
        ("a.jsonl", b'{"text": null, "label": 0}\n', "a.jsonl:1: .*got NoneType and int"),
        ("a.jsonl", b'{"text": "a", "label": 0}\n\n{"text": "a", "label": 0}\n', "a.jsonl:2: the line is empty"),
        ("a.jsonl", b'{"text": "\\ud800", "label": 0}\n', "a.jsonl:1: the text holds half of a character"),
        ("a.jsonl", b'{"text": "a", "label": "\\ud800"}\n', "a.jsonl:1: the label holds half of a character"),
        ("a.jsonl", b'{"text": "a", "label": ' + b"9" * 5000 + b"}\n", "a.jsonl:1: not to be read as JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl:1: not to be read as JSON"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_labelled(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_text_is_as_long_as_it_likes(tmp_path):
    """Python's reader of csv takes no more than 131,072 characters unless told; its own limit is as before."""
    usual, long = csv.field_size_limit(), "good " * 40_000
    (tmp_path / "a.csv").write_text(f'text,label\n"{long}",1\nbad,0\n', encoding="utf-8")
    assert read_labelled(tmp_path / "a.csv").texts == [long, "bad"]
    assert csv.field_size_limit() == usual


def test_one_column_cannot_be_both_text_and_label(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\ngood\t1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="need a column each: got 'text' for both"):
        read_labelled(tmp_path / "a.tsv", label_column="text")
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": "1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="need a column each: got 'text' for both"):
        read_labelled(tmp_path / "a.jsonl", label_column="text")


def test_a_message_does_not_repeat_a_whole_file(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\r" + b"a film\t1\r" * 1000)  # line ends of an old Macintosh
    with pytest.raises(ValueError, match=r"there is no column 'label', only 'text', .*, \.\.\.$") as caught:
        read_labelled(tmp_path / "a.tsv")
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 300


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("review", None), "no column 'review', only 'good', '1'"),
        ((None, "stars"), "no column 'text', only 'good', '1'"),
        (("1", None), "two column numbers from 1 to 2: got 1 and none"),
        (("1", "3"), "from 1 to 2: got 1 and 3"),
        (("0", "1"), "from 1 to 2: got 0 and 1"),
        (("1", "1"), "two column numbers"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path, columns, message):
    (tmp_path / "a.tsv").write_text("good\t1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path / "a.tsv", text_column=columns[0], label_column=columns[1])


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*no.tsv"):
        read_labelled(tmp_path / "no.tsv")
    (tmp_path / "a.tsv").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_labelled(tmp_path / "a.tsv")


def texts(labels):
    return LabelledTexts("some.tsv", ["x"] * len(labels), labels, list(range(1, len(labels) + 1)))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1", "0", "1"], ("0", "1")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["pos", "neg", "10"], ("10", "neg", "pos")),
    ],
)
def test_classes_are_in_the_order_of_numbers_or_of_the_alphabet(labels, classes):
    found = texts(labels)
    assert found.classes() == classes
    assert [classes[i] for i in found.numbered(classes)] == labels
    assert found.numbered(classes).dtype == np.int64


def test_numbers_of_any_length_are_labels():
    long = "9" * 5000
    found = LabelledTexts(Path("a.tsv"), ["a"] * 3, [long, "10", "2"], [1, 2, 3])
    assert found.classes() == ("2", "10", long)


def test_labels_that_teach_nothing_or_are_none_are_refused():
    with pytest.raises(ValueError, match=r"some.tsv has the one label '1' only"):
        texts(["1", "1"]).classes()
    with pytest.raises(ValueError, match=r"40 different labels on 40 texts: is another column the label's"):
        texts([str(i) for i in range(40)]).classes()
    with pytest.raises(ValueError, match=r"some.tsv:3: the label '2' is none of those trained on: '0', '1'"):
        texts(["0", "1", "2"]).numbered(("0", "1"))


def test_lines_of_a_plain_text_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("One\x85line\r\n\n  \nand another".encode())
    assert read_lines(path) == ["One\x85line", "and another"]
    path.write_bytes(b"\n \n")
    with pytest.raises(ValueError, match="has no text"):
        read_lines(path)


def test_sst2_is_read_as_it_is(data_folder):
    found = {part: read_labelled(data_folder / f"sst2_{part}.tsv") for part in ("train", "dev", "test")}
    assert {part: len(texts) for part, texts in found.items()} == {"train": 6920, "dev": 872, "test": 1821}
    assert found["train"].classes() == ("0", "1")
    ones = {part: int(texts.numbered(("0", "1")).sum()) for part, texts in found.items()}
    assert ones == {"train": 3610, "dev": 444, "test": 909}
