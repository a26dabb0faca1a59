"""An OpenAI-compatible HTTP server of one chat model (`hfllm serve`)."""
