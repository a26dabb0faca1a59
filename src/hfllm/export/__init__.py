"""Hand a model on: a GGUF file with an Ollama Modelfile, a Hugging Face folder, the hub."""
