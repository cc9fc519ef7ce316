"""BERT: an encoder whose tokens see both sides, with the parameter names and the config.json of Hugging Face."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops

_ACTIVATIONS: dict[str, str] = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}  # to ops.gelu's word
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# Keys of config.json that change what is computed, and the only value that this model computes.
_FIXED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT, by the keys of Hugging Face's config.json; `labels` are the classes of a classifier.

    `classifier_pooling` is ours, and named as ModernBERT's: a classifier sees the "pooler"'s vector, as Hugging Face's
    BERT does, or the "mean" of the hidden states, which theirs does not know; see BertForSequenceClassification.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    classifier_pooling: str = "pooler"
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        for name in _SIZES:
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"a BERT needs {name} of at least 1: got {getattr(self, name)!r}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "a BERT's hidden_size must be a multiple of its num_attention_heads: "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        if self.hidden_act not in _ACTIVATIONS:
            raise ValueError(f"a BERT's hidden_act is one of {', '.join(_ACTIVATIONS)}: got {self.hidden_act!r}")
        for name in ("layer_norm_eps", "initializer_range", "hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not isinstance(getattr(self, name), int | float) or not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"a BERT needs {name} from 0 to 1: got {getattr(self, name)!r}")
        if self.classifier_pooling not in ("pooler", "mean"):
            raise ValueError(f"a BERT's classifier_pooling is 'pooler' or 'mean': got {self.classifier_pooling!r}")
        if not self.labels:
            raise ValueError("a BERT needs at least one label, if only for classifiers")
        twice = [label for i, label in enumerate(self.labels) if label in self.labels[:i]]
        if twice:
            raise ValueError(f"a BERT needs labels that differ: got {twice[0]!r} twice")

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> BertConfig:
        """From what a config.json of Hugging Face holds; its keys that change no number are passed over.

        Raises:
            ValueError: if it is of another model, needs what this BERT does not compute, or names impossible sizes.
        """
        if config.get("model_type", "bert") != "bert":
            raise ValueError(f"config.json describes a model of type {config['model_type']!r}, and not a 'bert'")
        for key, value in _FIXED.items():
            if config.get(key, value) != value:
                raise ValueError(f"config.json asks for {key} = {config[key]!r}: this BERT computes {value!r} only")
        found = {name: config[name] for name in cls.__dataclass_fields__ if name in config and name != "labels"}
        if "id2label" in config:
            named = config["id2label"]
            if not isinstance(named, dict) or {str(i) for i in named} != {str(i) for i in range(len(named))}:
                raise ValueError(f"config.json's id2label must name the classes 0, 1, ... : got {named!r}")
            found["labels"] = tuple(str(label) for _, label in sorted(named.items(), key=lambda item: int(item[0])))
        elif "num_labels" in config:
            if type(config["num_labels"]) is not int:
                raise ValueError(f"config.json's num_labels must be a whole number: got {config['num_labels']!r}")
            found["labels"] = tuple(f"LABEL_{i}" for i in range(config["num_labels"]))
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds, as Hugging Face reads it."""
        found = asdict(self)
        labels = found.pop("labels")
        if self.classifier_pooling == "pooler":
            del found["classifier_pooling"]
        names = {"id2label": {str(i): label for i, label in enumerate(labels)}}
        return {"model_type": "bert"} | found | names | {"label2id": {label: i for i, label in enumerate(labels)}}


class BertEmbeddings(nn.Module):
    """A token's vector: its word's, its position's and its segment's, summed and normalised."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, rng=rng)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, rng=rng)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width, rng=rng)
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob, rng=rng)

    def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
        """Ids (batch, n), segments likewise or None for all 0 -> (batch, n, hidden_size)."""
        segments = self.token_type_embeddings
        kind = segments.weight[0] if token_type_ids is None else segments(token_type_ids)
        words = self.word_embeddings(input_ids)
        return self.dropout(self.LayerNorm(words + kind + self.position_embeddings.weight[: words.shape[1]]))


class BertSelfAttention(nn.Module):
    """Several attentions side by side, from separate query, key and value projections."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        width = config.hidden_size
        self.heads, self.rate, self.rng = config.num_attention_heads, config.attention_probs_dropout_prob, rng
        self.query = nn.Linear(width, width, rng=rng)
        self.key = nn.Linear(width, width, rng=rng)
        self.value = nn.Linear(width, width, rng=rng)

    def forward(self, x: Any, mask: Any = None) -> Any:
        """x (batch, n, hidden_size), mask booleans (batch, 1, 1, n), true where to look -> the shape of x."""
        batch, n, width = x.shape
        apart = (batch, n, self.heads, width // self.heads)
        q, k, v = (
            ops.permute(ops.reshape(part(x), apart), axes=(0, 2, 1, 3)) for part in (self.query, self.key, self.value)
        )
        y = ops.scaled_dot_product_attention(q, k, v, mask, self.rate if self.training else 0.0, rng=self.rng)
        return ops.reshape(ops.permute(y, axes=(0, 2, 1, 3)), (batch, n, width))


class BertOutput(nn.Module):
    """LayerNorm(residual + dense(x)): how each half of a layer ends, being post-norm."""

    def __init__(self, inputs: int, config: BertConfig, rng: Any = None):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size, rng=rng)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob, rng=rng)

    def forward(self, x: Any, residual: Any) -> Any:
        """x (..., inputs), residual (..., hidden_size) -> (..., hidden_size)."""
        return self.LayerNorm(residual + self.dropout(self.dense(x)))


class BertAttention(nn.Module):
    """Self-attention with its output layer."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.self = BertSelfAttention(config, rng)
        self.output = BertOutput(config.hidden_size, config, rng)

    def forward(self, x: Any, mask: Any = None) -> Any:
        """x (batch, n, hidden_size) -> the same shape."""
        return self.output(self.self(x, mask), x)


class BertDense(nn.Module):
    """One dense layer under the name that Hugging Face gives it, with the activation after it."""

    def __init__(self, outputs: int, config: BertConfig, rng: Any = None):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, outputs, rng=rng)
        self.approximate = _ACTIVATIONS[config.hidden_act]

    def forward(self, x: Any) -> Any:
        """x (..., hidden_size) -> (..., outputs)."""
        return ops.gelu(self.dense(x), approximate=self.approximate)


class BertLayer(nn.Module):
    """A post-norm Transformer block: LayerNorm(x + attention(x)), then LayerNorm(x + dense(gelu(dense(x))))."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.attention = BertAttention(config, rng)
        self.intermediate = BertDense(config.intermediate_size, config, rng)
        self.output = BertOutput(config.intermediate_size, config, rng)

    def forward(self, x: Any, mask: Any = None) -> Any:
        """x (batch, n, hidden_size) -> the same shape."""
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config, rng) for _ in range(config.num_hidden_layers))

    def forward(self, x: Any, mask: Any = None) -> Any:
        """x (batch, n, hidden_size) -> the same shape."""
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertPooler(nn.Module):
    """tanh(dense(the first token's vector)): one vector for the whole text."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, rng=rng)

    def forward(self, x: Any) -> Any:
        """x (batch, n, hidden_size) -> (batch, hidden_size)."""
        return ops.tanh(self.dense(x[:, 0]))


def _start(module: nn.Module, config: BertConfig, rng: Any) -> None:
    """Weights normal with deviation `initializer_range`, biases 0, as BERT's training began."""
    for name, p in module.named_parameters():
        if p.ndim == 2:
            nn.init.normal_(p, std=config.initializer_range, rng=rng)
        elif name.endswith("bias"):
            nn.init.zeros_(p)


class _Bert(nn.Module):
    """What the models below share."""

    config: BertConfig

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> Any:
        """The model that a folder with config.json and model.safetensors holds; see `pretrained.load_pretrained`."""
        from tinygrad_ft.models.pretrained import load_pretrained

        return load_pretrained(cls, folder, **options)


class BertModel(_Bert):
    """ids (batch, n) -> (hidden states (batch, n, hidden_size), pooled (batch, hidden_size)), every token seeing all.

    The state has Hugging Face's names. Theirs differs in one thing: it never trains the row of the padding token, which
    here gets a gradient only if it is looked at, so not where the mask hides it.
    Sources: Devlin et al., "BERT", 2019, section 3; Vaswani et al., "Attention Is All You Need", 2017, section 3.
    """

    def __init__(self, config: BertConfig, *, pooler: bool = True, rng: Any = None):
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config, rng)
        self.encoder = BertEncoder(config, rng)
        self.pooler = BertPooler(config, rng) if pooler else None
        _start(self, config, rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> tuple[Any, Any]:
        """(hidden states, pooled); pooled is None for a model without a pooler.

        Args:
            input_ids: integers (batch, n), n at most `max_position_embeddings`.
            attention_mask: booleans or integers (batch, n): 0 hides a token, for padding; None hides none.
            token_type_ids: which of the texts a token belongs to, (batch, n); None means the first.

        Raises:
            ValueError: if a shape is another one.
        """
        shape, longest = tuple(input_ids.shape), self.config.max_position_embeddings
        if len(shape) != 2 or not 1 <= shape[1] <= longest:
            raise ValueError(f"BERT needs input_ids (batch, n) with n from 1 to {longest}: got {shape}")
        for name, given in (("attention_mask", attention_mask), ("token_type_ids", token_type_ids)):
            if given is not None and tuple(given.shape) != shape:
                raise ValueError(f"BERT needs {name} of input_ids' shape {shape}: got {tuple(given.shape)}")
        mask = None if attention_mask is None else ops.reshape(attention_mask != 0, (shape[0], 1, 1, shape[1]))
        hidden = self.encoder(self.embeddings(input_ids, token_type_ids), mask)
        return hidden, None if self.pooler is None else self.pooler(hidden)


def mean_of_tokens(hidden: Any, attention_mask: Any = None) -> Any:
    """The mean of hidden states (batch, n, width) where the mask (batch, n) is not 0: one vector a text.

    Source: Reimers and Gurevych, "Sentence-BERT", 2019, section 3.
    """
    if attention_mask is None:
        return ops.mean(hidden, axis=1)
    shown = ops.reshape(attention_mask != 0, (*attention_mask.shape, 1))
    return ops.sum(ops.where(shown, hidden, 0.0), axis=1) / ops.sum(shown.float(), axis=1)


class BertForSequenceClassification(_Bert):
    """ids (batch, n) -> logits (batch, labels), from the pooled vector or the mean of the hidden states.

    With the mean there is no pooler, so that Hugging Face's classifier, which needs one, says that it is missing.
    """

    def __init__(self, config: BertConfig, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.bert = BertModel(config, pooler=config.classifier_pooling == "pooler", rng=rng)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(rate, rng=rng)
        self.classifier = nn.Linear(config.hidden_size, len(config.labels), rng=rng)
        _start(self.classifier, config, rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        """BertModel's arguments -> logits (batch, labels)."""
        hidden, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.dropout(mean_of_tokens(hidden, attention_mask) if pooled is None else pooled))


class BertTransform(BertDense):
    """LayerNorm(gelu(dense(x))): what the masked-language-model head does before the word table."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__(config.hidden_size, config, rng)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Any) -> Any:
        """x (..., hidden_size) -> the same shape."""
        return self.LayerNorm(super().forward(x))


class BertPredictions(nn.Module):
    """The masked-language-model head; the table of words, which is also its output layer, is not its own."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.bias = nn.Parameter(np.zeros(config.vocab_size, np.float32))
        self.transform = BertTransform(config, rng)

    def forward(self, x: Any, words: Any) -> Any:
        """x (..., hidden_size), words (vocab_size, hidden_size) -> logits (..., vocab_size)."""
        return ops.linear(self.transform(x), words, self.bias)


class BertHeads(nn.Module):
    """Holds the head under the name that Hugging Face gives it."""

    def __init__(self, config: BertConfig, rng: Any = None):
        super().__init__()
        self.predictions = BertPredictions(config, rng)

    def forward(self, x: Any, words: Any) -> Any:
        """As BertPredictions."""
        return self.predictions(x, words)


class BertForMaskedLM(_Bert):
    """ids (batch, n) -> logits (batch, n, vocab_size): which word belongs at each place (weights tied)."""

    def __init__(self, config: BertConfig, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.bert = BertModel(config, pooler=False, rng=rng)
        self.cls = BertHeads(config, rng)
        _start(self.cls, config, rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        """BertModel's arguments -> logits (batch, n, vocab_size)."""
        hidden, _ = self.bert(input_ids, attention_mask, token_type_ids)
        return self.cls(hidden, self.bert.embeddings.word_embeddings.weight)
