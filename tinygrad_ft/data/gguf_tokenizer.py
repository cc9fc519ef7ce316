"""The tokenizer that a GGUF file carries in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pretrained_tokenizer import PretrainedTokenizer

CONTROL, ADDED = 3, 4  # llama.cpp's types of tokens that are found before the text is split
_PARTS = {"pad": "padding", "begin": "bos", "end": "eos", "unknown": "unknown", "mask": "mask"}
KNOWN = ("smollm", "gpt-2")  # how texts are split before pairs are merged, as the metadata name it


def gguf_tokenizer(metadata: Mapping[str, Any]) -> PretrainedTokenizer:
    """The byte-level BPE that a GGUF file's metadata describe.

    Texts are split as GPT-2 splits them; for "smollm" each digit stands alone too, as in the files that SmolLM2 was
    published with.
    Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, section 3.2; Radford
    et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2, for bytes.

    Raises:
        ValueError: if there is no tokenizer among them, it is of another kind, or is not whole.
        RuntimeError: if the library `tokenizers` is not installed.
    """
    model, split = (metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if model != "gpt2" or split not in KNOWN:
        raise ValueError(
            f"the GGUF file's tokenizer is of model {model!r} and splits as {split!r}: known here is "
            f"'gpt2' that splits as {' or '.join(map(repr, KNOWN))}"
        )
    tokens, kinds, merges = (_texts(metadata, name) for name in ("tokens", "token_type", "merges"))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    wrong = next((pair for pair in pairs if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys()), None)
    if len(vocabulary) != len(tokens) or len(kinds) != len(tokens) or wrong is not None:
        raise ValueError(
            f"the GGUF file's tokenizer is not whole: {len(tokens)} tokens, {len(vocabulary)} of them different, "
            f"{len(kinds)} types" + ("" if wrong is None else f", and a merge {' '.join(wrong)!r:.60} of no tokens")
        )
    try:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    except ImportError as error:
        raise RuntimeError("tokenizers is not installed: run `pip install 'tinygrad-ft[pretrained]'`") from error
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=metadata.get("tokenizer.ggml.add_space_prefix", False))
    digits = pre_tokenizers.Digits(individual_digits=True)
    built.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes]) if split == "smollm" else by_bytes
    built.decoder = decoders.ByteLevel()
    for of_kind, add in ((CONTROL, built.add_special_tokens), (ADDED, built.add_tokens)):
        add(
            [
                AddedToken(token, special=of_kind == CONTROL, normalized=False)
                for token, kind in zip(tokens, kinds, strict=True)
                if kind == of_kind
            ]
        )
    special = {part: metadata.get(f"tokenizer.ggml.{name}_token_id") for part, name in _PARTS.items()}
    ids = {part: i for part, i in special.items() if i is not None}
    for part, i in ids.items():
        if not isinstance(i, int) or not 0 <= i < len(tokens):
            raise ValueError(f"the GGUF file's {_PARTS[part]} token is {i!r}, and it has {len(tokens)} tokens")
    if metadata.get("tokenizer.ggml.add_bos_token", False):
        if "begin" not in ids:
            raise ValueError("the GGUF file's texts shall begin with a bos token, and it names none")
        token = tokens[ids["begin"]]
        built.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", special_tokens=[(token, ids["begin"])]
        )
    return PretrainedTokenizer(built, ids)


def _texts(metadata: Mapping[str, Any], name: str) -> list[Any]:
    found = metadata.get(f"tokenizer.ggml.{name}")
    wanted = int if name == "token_type" else str
    if not isinstance(found, list) or not all(isinstance(x, wanted) for x in found):
        raise ValueError(f"the GGUF file's metadata hold no list of {name} under tokenizer.ggml.{name}")
    return found
