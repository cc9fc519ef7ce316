"""A fine-tuning run from files to a folder: the texts, the model, the training, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_ft import storage
from tinygrad_ft.data import PretrainedTokenizer, pretrained_model
from tinygrad_ft.data.labelled import LabelledTexts, read_labelled, read_lines
from tinygrad_ft.finetune.batches import Bucketed
from tinygrad_ft.finetune.head import cached, learn_head, vectors_of
from tinygrad_ft.finetune.load import finetuned_folder, longest_of, model_for, tokenizer_for, write_folder
from tinygrad_ft.finetune.lora import merge_lora, save_lora
from tinygrad_ft.finetune.recipe import HEADS, Recipe, prepared, schedule
from tinygrad_ft.finetune.report import change_lines, changes, copied, cost_lines, costs
from tinygrad_ft.finetune.tasks import (
    Measures,
    Task,
    bucketed,
    causal_lm,
    classification,
    logits_of,
    masked_lm,
    measured,
)
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train import Callback, Running, carry_out


@dataclass(frozen=True)
class Files:
    """Where texts are, and in which columns; see `texts.read_labelled`."""

    train: Path
    valid: Path
    test: Path | None = None
    text_column: str | None = None
    label_column: str | None = None

    def labelled(self, path: Path) -> LabelledTexts:
        """One of them, read."""
        return read_labelled(path, text_column=self.text_column, label_column=self.label_column)

    def paths(self) -> dict[str, Path]:
        """Those that there are, by their part."""
        paths = {"train": self.train, "valid": self.valid, "test": self.test}
        return {part: path for part, path in paths.items() if path is not None}


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the last validation measures, those of the test texts if there are any, and a report."""

    valid: Measures
    test: Measures | None
    report: list[str]


class Telling(Callback):
    """Prints the loss and the rate after every so many steps."""

    def __init__(self, every: int):
        self.every = every

    def stepped(self, trainer: Any, record: Any) -> None:
        """Print, if it is time."""
        from tqdm import tqdm

        if trainer.step % self.every == 0:
            tqdm.write(f"step {trainer.step}: train_loss {record['train_loss']:.4f}  lr {record['lr']:.2e}")


@dataclass(frozen=True)
class _Job:
    """All that a run was given and has read."""

    model: Any
    tokenizer: PretrainedTokenizer
    files: Files
    parts: dict[str, LabelledTexts]
    classes: Sequence[str]
    recipe: Recipe
    config: dict[str, Any]
    out: Path

    def batches(self, part: str) -> Bucketed:
        """A part of the labelled texts, as batches."""
        texts, recipe = self.parts[part], self.recipe
        labels = texts.numbered(self.classes)
        length, size = recipe.max_length, recipe.batch_size
        return bucketed(self.tokenizer, texts.texts, labels, max_length=length, batch_size=size)


def finetune(
    model_name: str,
    files: Files,
    recipe: Recipe,
    *,
    seed: int,
    out: Path,
    running: Running = Running(),  # noqa: B008 (frozen)
    device: str = "cpu",
    logging_steps: int | None = None,
) -> Outcome:
    """Fine-tune a pretrained model, and leave the run in the folder `out` and the model in its folder `model`.

    Args:
        model_name: a folder as Hugging Face writes them, or a name that `data.pretrained_model` knows, as "minilm".
        logging_steps: print loss and rate after every so many steps.

    Raises:
        OSError, ValueError, RuntimeError: if a file, the model or the recipe is not as it must be; each in one line.
        Diverged: if the loss is no longer finite.
    """
    folder = finetuned_folder(pretrained_model(model_name))
    rng = np.random.default_rng(seed)
    parts: dict[str, LabelledTexts] = {}
    classes: tuple[str, ...] = ()
    if recipe.task == "classification":
        parts = {name: files.labelled(path) for name, path in files.paths().items()}
        classes = parts["train"].classes()
        for part in parts.values():
            part.numbered(classes)  # a label that is not known is told before the model is read
    model = model_for(
        recipe.task,
        folder,
        rng=rng,
        classes=classes,
        pooling="mean" if recipe.method == "head" else recipe.pooling,
        from_scratch=recipe.from_scratch,
    ).to(device)
    recipe = replace(recipe, max_length=min(recipe.max_length, longest_of(model) or recipe.max_length))
    weights = "" if recipe.from_scratch else _sha256(folder / "model.safetensors")
    config = {
        "model": {"kind": "finetuned", "from": str(model_name), "weights": weights, "classes": list(classes)},
        "data": {name: _sha256(path) for name, path in files.paths().items()},
        "recipe": asdict(recipe),
        "seed": seed,
    }
    job = _Job(model, tokenizer_for(model, folder), files, parts, classes, recipe, config, out)
    began = copied(model)
    if recipe.method == "head":
        valid, test, lines = _head(job, running)
    else:
        valid, lines = _trained(job, rng, seed, running, logging_steps)
        if recipe.method == "lora":
            save_lora(model, out / "adapters.safetensors", also=HEADS[recipe.task])
            lines.append(f"adapters alone: {(out / 'adapters.safetensors').stat().st_size / 2**20:.2f} MiB")
            merge_lora(model)
        test = _on_test(job)
    lines += change_lines(changes(model, began))
    write_folder(model, out / "model", folder)
    told = {"validation": valid, "test": test, "lines": lines}
    storage.write_atomically(out / "report.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return Outcome(valid, test, lines)


def _trained(
    job: _Job, rng: np.random.Generator, seed: int, running: Running, logging_steps: int | None
) -> tuple[Measures, list[str]]:
    recipe = job.recipe
    task = _task(job, seed)
    model, optimizer, callbacks = prepared(job.model, recipe, rng)
    steps = max(1, recipe.epochs * len(task.batches) // running.accumulate)
    sample = task.sample
    started = perf_counter()
    last = carry_out(
        job.out,
        job.config,
        model,
        task.loss_of,
        optimizer,
        task.batches,
        steps=steps,
        schedule=schedule(recipe, steps),
        max_norm=recipe.max_norm,
        evaluate=lambda last: {f"val_{name}": value for name, value in task.evaluate(model).items()},
        evaluate_every=recipe.eval_steps or -(-len(task.batches) // running.accumulate),
        running=running,
        unit="texts" if job.parts else "blocks",
        sample=None if sample is None else lambda: sample(model),
        callbacks=(*callbacks, *([Telling(logging_steps)] if logging_steps else [])),
    )
    seconds = perf_counter() - started
    lines = [*cost_lines(costs(model, optimizer)), f"{int(last['step'])} steps; this call took {seconds:.0f} s"]
    model.eval()
    return task.evaluate(model), lines  # of the weights as they are kept, which need not be the last


def _task(job: _Job, seed: int) -> Task:
    recipe, files = job.recipe, job.files
    options: dict[str, Any] = {"batch_size": recipe.batch_size, "max_length": recipe.max_length, "seed": seed}
    if job.parts:
        train, valid = ((job.parts[name].texts, job.batches(name).labels) for name in ("train", "valid"))
        return classification(job.tokenizer, train, valid, job.classes, **options)
    make = masked_lm if recipe.task == "mlm" else causal_lm
    return make(job.tokenizer, read_lines(files.train), read_lines(files.valid), **options)


def _head(job: _Job, running: Running) -> tuple[Measures, Measures | None, list[str]]:
    if running.resume:
        raise ValueError(
            "method head takes no steps between which it could be resumed: start it anew, it keeps vectors"
        )
    model, out = job.model.eval(), job.out
    out.mkdir(parents=True, exist_ok=True)
    started = perf_counter()
    texts = {name: job.batches(name) for name in job.parts}
    encoder = job.config["model"]["weights"]
    vectors = {
        name: cached(out / "vectors.safetensors", encoder, part, partial(vectors_of, model, part))
        for name, part in texts.items()
    }
    seen = perf_counter()
    learn_head(model, vectors["train"], texts["train"].labels)
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    lines = [
        *cost_lines(costs(model)),
        f"vectors of {sum(map(len, job.parts.values())):,} texts in {seen - started:.0f} s, "
        f"the regression in {perf_counter() - seen:.1f} s",
    ]
    with no_grad():
        found = {
            name: measured(model.classifier(Tensor(vectors[name])).numpy_copy(), texts[name].labels) for name in texts
        }
    config = {**job.config, "arguments": running.arguments}
    record = {"step": 1, **{f"val_{name}": value for name, value in found["valid"].items()}}
    storage.write_atomically(out / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    storage.write_atomically(out / "metrics.jsonl", json.dumps(record) + "\n")
    return found["valid"], found.get("test"), lines


def _on_test(job: _Job) -> Measures | None:
    if "test" in job.parts:
        texts = job.batches("test")
        return measured(logits_of(job.model, texts), texts.labels)
    if job.files.test is None:
        return None
    return _task(replace(job, files=replace(job.files, valid=job.files.test)), 0).evaluate(job.model)


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the spelling and the folder")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
