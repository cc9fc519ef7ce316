"""Data as plain NumPy arrays and Python strings: small labelled tables, texts with a tokenizer, real files by name,
and the batches to train on. This room imports nothing of the rest of the package, so it serves any other as well;
scikit-learn and pooch are imported only by the functions that need them. All chance comes from the `rng` given.
"""

from .augment_images import Augmented, augment_images
from .augment_text import augment_text, augment_texts
from .batches import batches, token_windows
from .fetch import fetch
from .labelled import LabelledTexts, read_labelled
from .pretrained_models import pretrained_model
from .pretrained_tokenizer import PretrainedTokenizer
from .sampling import Shuffled, TokenSnippets
from .tables import breast_cancer, digits, digits28, moons, split, standardise
from .text import python_manual, read_text, shakespeare
from .tokenizer import CharTokenizer
from .words import WordTokenizer

__all__ = [
    "Augmented",
    "CharTokenizer",
    "LabelledTexts",
    "PretrainedTokenizer",
    "Shuffled",
    "TokenSnippets",
    "WordTokenizer",
    "augment_images",
    "augment_text",
    "augment_texts",
    "batches",
    "breast_cancer",
    "digits",
    "digits28",
    "fetch",
    "moons",
    "pretrained_model",
    "python_manual",
    "read_labelled",
    "read_text",
    "shakespeare",
    "split",
    "standardise",
    "token_windows",
]
