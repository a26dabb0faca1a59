"""Raw text to an aligned chat model on the Hugging Face stack, from one recipe."""

__version__ = "0.1.0"
