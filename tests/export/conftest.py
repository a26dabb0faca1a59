"""A tiny Llama and its tokenizer, and the command."""

import pytest
from export_models import make, save
from typer.testing import CliRunner

from hfllm.cli import app
from tiny import documents
from tiny_model import tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    """Our 320-token byte-level BPE with our chat template."""
    return tiny_tokenizer([row["text"] for row in documents()])


@pytest.fixture()
def folder(tmp_path, tokenizer):
    """The folder of a tiny Llama."""
    return save(tmp_path / "model", make(tokenizer), tokenizer)


@pytest.fixture()
def export(monkeypatch):
    """`hfllm export`: its output where it succeeds, its one error line where it does not."""

    def run(model, to, out, *options):
        words = ["export", model, "--to", to, "--out", out, *options]
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exit_code == 0:
            return done.stdout
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.exit_code == 1 and len(lines) == 1, done.stderr
        return lines[0]

    return run
