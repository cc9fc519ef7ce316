"""Where text comes from: the Python manual on this machine, tiny Shakespeare, or a file of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from .fetch import fetch


def python_manual() -> str:
    """The Python language reference that every CPython carries, about half a million characters of English.

    It needs no network. The text differs a little from one Python version to the next, so a loss curve
    trained on it compares only within one version.

    Source: the standard library's `pydoc_data.topics`, its topics in alphabetical order.
    """
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


def shakespeare() -> str:
    """Tiny Shakespeare: 1,115,394 characters of his plays, 65 different ones; downloaded once, then cached.

    Raises:
        OSError, ValueError: as `fetch` does, when the file is neither here nor to be had.
    Source: A. Karpathy, char-rnn, 2015.
    """
    return read_text(fetch("tinyshakespeare.txt"))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, its line ends kept as they are and a byte order mark dropped.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: the path names no file that can be read.
        ValueError: the file is empty, or is not UTF-8 text.
    """
    try:
        if Path(path).is_dir():
            raise IsADirectoryError(f"{path} is a folder, where a text file was needed: name one file inside it.")
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no file {path}, where a text file was needed: check the spelling and the current folder."
        ) from error
    except PermissionError as error:
        raise PermissionError(
            f"{path} may not be read by this user, where a text file was needed: change its permissions, or copy it."
        ) from error
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
        not_text = raw.find(b"\0")
    except UnicodeDecodeError as error:
        not_text = error.start
    if not_text >= 0:
        raise ValueError(
            f"{path} is not UTF-8 text: byte {not_text} is 0x{raw[not_text]:02x}. If it is text in another encoding, "
            "convert it to UTF-8 (for example: iconv -f GB18030 -t UTF-8 old.txt > new.txt); else name a text file."
        )
    if not text:
        raise ValueError(f"{path} is empty, where text was needed: name a file with some text in it.")
    return text
