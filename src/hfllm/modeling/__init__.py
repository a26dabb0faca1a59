"""Build, import, merge and measure models: transformers configs, GGUF, PEFT adapters, FLOPs."""
