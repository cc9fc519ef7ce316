"""A BERT so small that a test trains it, with its tokenizer, as a folder that Hugging Face could have written."""

import numpy as np

from tinygrad_ft.data import PretrainedTokenizer
from tinygrad_ft.models import BertConfig, BertForMaskedLM, save_pretrained

GOOD, BAD = ["good", "great", "fine", "nice"], ["bad", "poor", "dull", "sad"]
PLAIN = ["the", "a", "film", "movie", "plot", "actor", "is", "was", "very", "so", "not", "and", "."]
WORDS = [*PLAIN, *GOOD, *BAD]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer():
    """One token for each of WORDS, and the special ones around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocab = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    made.add_special_tokens(SPECIAL)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    )
    return PretrainedTokenizer(made)


CONFIG = BertConfig(
    vocab_size=len(SPECIAL) + len(WORDS),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=24,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.2,
)


def write_model(folder, config=CONFIG, kind=BertForMaskedLM, seed=7):
    """Write config.json, model.safetensors and tokenizer.json into the folder; answers it."""
    save_pretrained(kind(config, rng=np.random.default_rng(seed)), folder)
    tokenizer().tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_causal(folder, kind, seed=7):
    """As `write_model`, of a "llama" or a "gpt2", which write from left to right."""
    from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    words, rng = CONFIG.vocab_size, np.random.default_rng(seed)
    llama = LlamaConfig(words, 16, 24, 2, 2, max_position_embeddings=24, initializer_range=0.2)
    gpt2 = GPT2Config(words, n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2)
    model = LlamaForCausalLM(llama, rng=rng) if kind == "llama" else GPT2LMHeadModel(gpt2, rng=rng)
    save_pretrained(model, folder)
    tokenizer().tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def reviews(n, seed=0):
    """(texts, labels): sentences whose one telling word says whether they are "pos" or "neg"."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    texts = []
    for label in labels:
        words = list(rng.choice(PLAIN, rng.integers(2, 10)))
        words.insert(int(rng.integers(len(words))), str(rng.choice(GOOD if label else BAD)))
        texts.append(" ".join(words))
    return texts, [("neg", "pos")[label] for label in labels]


def write_reviews(path, n, seed=0):
    """Write such reviews as a tsv; answers its path."""
    path.write_text("".join(f"{text}\t{label}\n" for text, label in zip(*reviews(n, seed), strict=True)), "utf-8")
    return path
