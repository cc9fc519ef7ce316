"""Files of weights that others wrote: safetensors and GGUF, read with every offset checked."""

from tinygrad_ft.formats.gguf import GGUF
from tinygrad_ft.formats.safetensors import read_metadata, read_safetensors

__all__ = ["GGUF", "read_metadata", "read_safetensors"]
