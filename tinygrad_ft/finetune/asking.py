"""A fine-tuned model in use: measured on other texts, or asked of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.data import PretrainedTokenizer, pretrained_model
from tinygrad_ft.data.labelled import read_labelled, read_lines
from tinygrad_ft.finetune.load import ENDINGS, finetuned_folder, longest_of, tokenizer_for
from tinygrad_ft.finetune.tasks import Measures, bucketed, causal_lm, logits_of, masked_lm, measured
from tinygrad_ft.models import from_pretrained


@dataclass(frozen=True)
class Finetuned:
    """A model with its tokenizer, in evaluation mode; `task` is what it can do."""

    model: Any
    tokenizer: PretrainedTokenizer
    task: str
    folder: Path
    max_length: int
    batch_size: int

    @classmethod
    def read(cls, name_or_path: str, *, max_length: int = 128, batch_size: int = 16) -> Finetuned:
        """From a run's folder, or that of a model by itself.

        Raises:
            FileNotFoundError, ValueError: if there is no such model, or none that has a task; in one line.
        """
        folder = finetuned_folder(pretrained_model(name_or_path))
        model = from_pretrained(folder)
        kind = type(model).__name__
        task = next((task for task, ends in ENDINGS.items() if kind.endswith(ends)), None)
        if task is None:
            raise ValueError(
                f"{folder} holds a {kind}, which was trained for no task: `tinygrad-ft finetune` does that"
            )
        most = min(max_length, longest_of(model) or max_length)
        return cls(model, tokenizer_for(model, folder), task, folder, most, batch_size)

    def measure(
        self, path: Path, *, text_column: str | None = None, label_column: str | None = None
    ) -> tuple[Measures, str]:
        """(measures, of how much text): of a classifier those of `tasks.measured`, else loss and perplexity.

        Raises:
            OSError, ValueError: if the file is not as it must be, or has a label that the model does not know.
        """
        if self.task == "classification":
            texts = read_labelled(path, text_column=text_column, label_column=label_column)
            labels = texts.numbered(self.model.config.labels)
            return measured(self._logits(texts.texts), labels), f"{len(texts):,} texts"
        make = masked_lm if self.task == "mlm" else causal_lm
        lines = read_lines(path)
        task = make(
            self.tokenizer, lines, lines, batch_size=self.batch_size, max_length=self.max_length, seed=0
        )  # fmt: skip
        return task.evaluate(self.model), f"{len(lines):,} lines"

    def chances(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """How likely each class is, for each text; they sum to 1.

        Raises:
            ValueError: if the model is no classifier, or answers nan or inf, or a text is empty.
        """
        if self.task != "classification":
            raise ValueError(f"{self.folder} holds a language model, which tells no classes apart")
        if not all(text.strip() for text in texts):
            raise ValueError("a text is empty: give one that has words")
        rows = ops.softmax(self._logits(texts))
        return [dict(zip(self.model.config.labels, map(float, row), strict=True)) for row in rows]

    def _logits(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        none = np.zeros(len(texts), np.int64)
        batches = bucketed(
            self.tokenizer, texts, none, max_length=self.max_length, batch_size=self.batch_size
        )  # fmt: skip
        logits = logits_of(self.model, batches)
        if not np.isfinite(logits).all():
            raise ValueError(f"the model in {self.folder} answers nan or inf: its weights are damaged, train it anew")
        return logits
