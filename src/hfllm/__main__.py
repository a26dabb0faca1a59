"""`python -m hfllm` is the command `hfllm`."""

from hfllm.cli import app

app()
