"""The command that lets a model write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_ft.cli.running import at_least


def add_commands(commands: Any) -> None:
    """Add sample."""
    command = commands.add_parser(
        "sample",
        help="let a trained model write",
        epilog="example: tinygrad-ft sample --model smollm2 --prompt 'The capital of France is' --tokens 20",
    )
    command.add_argument(
        "--model", required=True, metavar="MODEL",
        help="a folder that `train transformer` or `finetune --task clm` wrote, or Hugging Face; a .gguf file; smollm2",
    )  # fmt: skip
    command.add_argument("--prompt", default="", help="how the text begins (default: as a text begins)")
    command.add_argument(
        "--tokens", type=at_least(0), metavar="N",
        help="how many characters to write (default 500), or for a pretrained model pieces of words (default 100)",
    )  # fmt: skip
    command.add_argument(
        "--temperature", type=at_least(0, float), default=0.8, metavar="T", help="0 takes the likeliest (default 0.8)"
    )
    command.add_argument(
        "--top-k", type=at_least(1), metavar="K", help="draw from the K likeliest only (default: from all)"
    )
    command.add_argument(
        "--seed", type=at_least(0), default=0, metavar="S", help="another seed, another text (default 0)"
    )
    command.set_defaults(run=_sample)


def _sample(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.data import pretrained_model
    from tinygrad_ft.data.pretrained_models import ALIASES, SOURCES
    from tinygrad_ft.finetune.load import finetuned_folder

    name = arguments.model
    path = pretrained_model(name) if name in {*SOURCES, *ALIASES} else Path(name)
    folder = finetuned_folder(path)
    if path.is_file() and path.suffix == ".gguf":
        text = _of_pretrained(arguments, *_from_gguf(path))
    elif (kind := _model_type(folder)) is not None:
        text = _of_pretrained(arguments, *_from_folder(folder, kind))
    else:
        text = _of_run(arguments, path)
    print(text)
    return 0


def _model_type(folder: Path) -> Any:
    """What Hugging Face's config.json calls the architecture; None if there is no such file, or it is one of ours."""
    from tinygrad_ft import storage

    path = folder / "config.json"
    config = storage.read_json(path) if path.is_file() else None
    return config.get("model_type") if isinstance(config, dict) else None


def _from_gguf(path: Path) -> tuple[Any, Any]:
    from tinygrad_ft.data.gguf_tokenizer import gguf_tokenizer
    from tinygrad_ft.formats import GGUF
    from tinygrad_ft.models.llama_gguf import load_gguf

    file = GGUF(path)
    return load_gguf(file), gguf_tokenizer(file.metadata)


def _from_folder(folder: Path, model_type: Any) -> tuple[Any, Any]:
    from tinygrad_ft.finetune.load import ENDINGS, tokenizer_for
    from tinygrad_ft.models import from_pretrained
    from tinygrad_ft.models.pretrained import architectures

    writers = {
        name: kind for name, found in architectures.items() for kind in found.models if kind.endswith(ENDINGS["clm"])
    }
    if not isinstance(model_type, str) or model_type not in writers:
        raise ValueError(
            f"{folder} holds a model of type {model_type!r}, which writes no text here: of pretrained models "
            f"{' and '.join(writers)} do"
        )
    model = from_pretrained(folder, writers[model_type])
    return model, tokenizer_for(model, folder)


def _of_pretrained(arguments: argparse.Namespace, model: Any, tokenizer: Any) -> str:
    """The prompt and what the model writes after it, until it ends the text."""
    import numpy as np

    tokenizer.check_fits(model.config.vocab_size)
    if arguments.prompt:
        ids = tokenizer.lists([arguments.prompt])[0]
    else:
        ids = [tokenizer.special[part] for part in ("begin", "end") if part in tokenizer.special][:1]
    if not ids:
        raise ValueError(f"{arguments.model} names no token that begins a text: give the beginning by --prompt")
    ends = model.config.eos_token_id
    stop = {tokenizer.special.get("end"), *(ends if isinstance(ends, tuple) else (ends,))} - {None}
    written = model.generate(
        ids,
        100 if arguments.tokens is None else arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        rng=np.random.default_rng(arguments.seed),
        stop=stop,
    )
    text: str = tokenizer.decode(written)
    return text


def _of_run(arguments: argparse.Namespace, path: Path) -> str:
    """The prompt and what a Transformer of characters writes after it."""
    from tinygrad_ft.models import GPT
    from tinygrad_ft.train import continue_text, load_model

    model, config = load_model(path)
    if not isinstance(model, GPT):
        raise ValueError(f"{path} holds an {config['model']['kind']}, which writes no text; train a transformer")
    return continue_text(
        model,
        config,
        arguments.prompt,
        tokens=500 if arguments.tokens is None else arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
    )
