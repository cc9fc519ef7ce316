"""The tokenizer that a pretrained model was trained with: texts to ids, padded to one length, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]

# What the usual tokenizers call their special tokens, by the part that they play.
NAMES = {
    "pad": ("[PAD]", "<pad>", "<|endoftext|>"),
    "begin": ("[CLS]", "<s>", "<|begin_of_text|>"),
    "end": ("[SEP]", "</s>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
    "unknown": ("[UNK]", "<unk>"),
}


class PretrainedTokenizer:
    """Texts <-> token ids, by the library `tokenizers`; padding stands at the end, and the mask says where.

    Padding and truncation that a file has built in are switched off: here the caller says how long a text may be.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, as read from a file or built.
        special: ids by their part ("pad", "begin", "end", "mask", "unknown"), for what the tokens' names do not tell.
    """

    def __init__(self, tokenizer: Any, special: dict[str, int] | None = None):
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        found = {
            part: next((i for name in names if (i := tokenizer.token_to_id(name)) is not None), None)
            for part, names in NAMES.items()
        }
        self.special: dict[str, int] = {part: i for part, i in found.items() if i is not None} | (special or {})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> PretrainedTokenizer:
        """From a tokenizer.json, or the folder that holds one.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no tokenizer that `tokenizers` reads.
            RuntimeError: if `tokenizers` is not installed.
        """
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: a pretrained model's folder holds its tokenizer.json")
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise RuntimeError("tokenizers is not installed: run `pip install 'tinygrad-ft[pretrained]'`") from error
        try:
            return cls(Tokenizer.from_buffer(path.read_bytes()))
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"{path} is not a tokenizer.json: {error}") from None

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, added tokens included, so that a table of so many rows serves every id."""
        return 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    def check_fits(self, vocab_size: int) -> None:
        """Nothing, if a model whose vocabulary has that many words knows every id.

        Raises:
            ValueError: if it does not.
        """
        if self.vocab_size > vocab_size:
            raise ValueError(
                f"the tokenizer has ids up to {self.vocab_size - 1}, and the model's vocabulary {vocab_size} words: "
                "the tokenizer belongs to another model; take the tokenizer.json from the folder of these weights"
            )

    def encode(self, texts: Iterable[str], max_length: int | None = None, *, special: bool = True) -> tuple[Ids, Ids]:
        """(ids, mask), each (texts, longest): the mask is 1 where a token stands and 0 where padding does.

        Args:
            max_length: longer texts lose their end, but keep the special tokens around them.
            special: whether the tokens are added that the model expects around a text, as [CLS] and [SEP].

        Raises:
            TypeError: if texts is one string, which would be taken letter by letter, or not all are strings.
            ValueError: if max_length leaves no room for a text, or a text is no Unicode.
        """
        rows = self.lists(texts, max_length, special=special)
        shape = len(rows), max((len(row) for row in rows), default=0)
        ids, mask = np.full(shape, self.special.get("pad", 0), np.int64), np.zeros(shape, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        return ids, mask

    def lists(self, texts: Iterable[str], max_length: int | None = None, *, special: bool = True) -> list[list[int]]:
        """The ids of each text without padding; otherwise as `encode`."""
        if isinstance(texts, str):
            raise TypeError(f"encode takes a list of texts: got the one text {texts[:20]!r}, to be given as [text]")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"encode takes texts: number {i} is {type(text).__name__}")
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError(
                    f"text number {i} holds half of a character (a lone surrogate): read it as UTF-8"
                ) from None
        if max_length is not None:
            around = self.tokenizer.num_special_tokens_to_add(False) if special else 0
            if max_length <= around:
                raise ValueError(f"max_length must be more than the {around} special tokens: got {max_length}")
            self.tokenizer.enable_truncation(max_length)
        try:
            return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=special)]
        finally:
            self.tokenizer.no_truncation()

    def lengths(self, texts: Iterable[str], max_length: int | None = None) -> Ids:
        """How many tokens `encode` makes of each text: (texts,)."""
        return np.array([len(row) for row in self.lists(texts, max_length)], dtype=np.int64)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids (n,), without special tokens."""
        text: str = self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)
        return text
