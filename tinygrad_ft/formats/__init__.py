"""Files of weights that others wrote: safetensors and GGUF, read with every offset checked."""
