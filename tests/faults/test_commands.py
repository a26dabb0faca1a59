"""The command `hfllm`: its mistakes end in one line, too."""

import pytest
import transformers  # noqa: F401  its log keeps the stream of its import: not a captured one
from typer.testing import CliRunner

from hfllm.cli import app


def hfllm(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "recip.yaml"), "recip.yaml: no such recipe file. Did you mean: 'recipe.yaml'?"),
        (("run", "recipe.yaml", "sft.dta=1"), "sft.dta: Key 'dta' not in"),
        (("run", "recipe.yaml", "--only", "sfft"), "no step 'sfft'. Did you mean: 'sft'?"),
        (("run", "recipe.yaml", "--only", "sft", "--from", "sft"), "--only or --from, not both"),
        (("run", "recipe.yaml", "--only", "ppo"), "'ppo' needs 'tokenizer', which is missing"),
        (("run", "recipe.yaml", "--dry-run", "sft.trainer.packing=1"), "the step's data.packing"),
        (("show", "recipe.yaml", "--step", "sfft"), "no step 'sfft'. Did you mean: 'sft'?"),
        (("show", "recipe.yaml", "sft.data.turns=some"), "sft.data.turns: 'some' is none of all"),
        (("show", "recipe.yaml", "sft.trainer.max_step=1"), "sft.trainer.max_step: Key 'max_step'"),
        (("report", "recipe.yaml"), "runs/tiny: nothing has run yet; run `hfllm run recipe.yaml`"),
        (("eval", "runs/tiny/sft/model"), "nothing to evaluate on: give --tests FILE.jsonl"),
        (("eval", "runs/tiny/sft/model", "--text", "data/heldout.jsonl"), "runs/tiny/sft/model"),
        (("chat", "runs/tiny/sft/model"), "runs/tiny/sft/model"),
        (("chat", "runs/tiny/sft/model", "--top-p", "0.9"), "--top-p: has no effect on greedy"),
        (("chat", "runs/tiny/sft/model", "--min-p", "2"), "--min-p: 2.0 is not from 0 to 1"),
        (("tokens", "text", "--tokenizer", "nowhere"), "nowhere"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(workspace, words, expected):
    result = hfllm(*words)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert expected in lines[0]


def test_a_dry_run_and_a_show_succeed(workspace):
    result = hfllm("run", "recipe.yaml", "--dry-run")
    assert result.exit_code == 0
    assert "not run yet" in result.stdout
    result = hfllm("show", "recipe.yaml", "--step", "sft", "sft.trainer.learning_rate=1e-5")
    assert result.exit_code == 0
    assert "trainer.learning_rate: 1.0e-05" in result.stdout


def test_the_version_is_told(workspace):
    from importlib.metadata import version

    result = hfllm("--version")
    assert (result.exit_code, result.stdout) == (0, f"hfllm {version('hfllm')}\n")


def test_a_dry_run_finds_a_typo_in_hfllm_slow(workspace, monkeypatch):
    monkeypatch.setenv("HFLLM_SLOW", "decodign")
    result = hfllm("run", "recipe.yaml", "--dry-run")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: HFLLM_SLOW: 'decodign' is no fast path")
