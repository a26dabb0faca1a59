"""`hfllm plan`: its answer, what it imports, and its mistakes in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import transformers  # noqa: F401  its log keeps the stream of its import: not a captured one
from typer.testing import CliRunner

from hfllm.cli import app

ROOT = Path(__file__).parents[2]
IN_ONE_PROCESS = """
import sys, time
from hfllm.cli import app
sys.argv = "hfllm plan configs/llama-1b.yaml --gpu h100 --count 8 --price 2.5".split()
try:
    app()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "transformers", "trl", "datasets"} & set(sys.modules)
print(f"heavy {sorted(heavy)} cpu {time.process_time():.2f}")
"""


def hfllm(*words):
    return CliRunner().invoke(app, list(words))


def test_the_1b_recipe_on_8_h100_is_answered_in_a_second_of_work(monkeypatch):
    monkeypatch.chdir(ROOT)
    done = subprocess.run([sys.executable, "-c", IN_ONE_PROCESS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert "heavy []" in last
    assert float(last.split()[-1]) < 2.0  # 0.6 where nothing else runs; CPU seconds, not wall
    text = "\n".join(lines)
    assert "planned for h100, 79.6 GiB, 989 TFLOP/s bf16 dense" in text
    assert "pretrain: FSDP2 on 8 devices" in text
    assert "48,000 of 512 rows (8 at once, accumulated 8 times, on 8 devices)" in text
    assert "1.11B parameters" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--gpu", "h10"), "--gpu: no device 'h10' is known. Did you mean: 'h100'? Known: a100-40"),
        (("--count", "0"), "--count: 0 is not a number from 1 on"),
        (("--price", "-1"), "--price: -1.0 is not a number from 0 on"),
        (("--mfu", "40"), "--mfu: 40.0 is not a share of the peak, above 0 and at most 1"),
        (("--mfu", "0"), "--mfu: 0.0 is not a share"),
        (("tokenizer",), "step 'tokenizer' trains nothing; a plan is of training steps: pretrain"),
        (("stf",), "no step 'stf'. Did you mean: 'sft'?"),
        (("sft.trainer.max_step=1", "--gpu", "l4"), "sft.trainer.max_step: Key 'max_step' not in"),
        (("sft.trainer.packing=1", "--gpu", "l4"), "sft.trainer.packing: set the step's data.pack"),
        (("sft.trainer.max_steps=many",), "sft.trainer.max_steps: 'many' is not a whole number"),
        (("sft.data.turns=some",), "sft.data.turns: 'some' is none of all"),
        (("sft.data.mixture=[{path: nowhere.jsonl}]",), "nowhere.jsonl"),
        (("--probe", "--gpu", "l4"), "--probe measures this machine; leave --gpu out"),
    ],
)
def test_a_mistake_is_one_line(workspace, words, expected):
    result = hfllm("plan", "recipe.yaml", *words)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert expected in lines[0]


def test_a_recipe_that_trains_nothing_has_no_plan(workspace):
    workspace.recipe(only=("tokenizer",))
    result = hfllm("plan", "recipe.yaml")
    assert "no step of it trains" in result.stderr
    assert result.exit_code == 1


def test_a_plan_for_this_machine_says_what_it_does_not_know(workspace):
    result = hfllm("plan", "recipe.yaml", "sft")
    assert result.exit_code == 0, result.stderr
    assert "planned for this machine's CPU" in result.stdout
    assert "4 of 4 rows (4 at once)" in result.stdout
    assert "unknown: a CPU's speed is not in the table; --probe measures it" in result.stdout


def test_one_step_and_a_speed_of_its_own(workspace):
    words = ("plan", "recipe.yaml", "pretrain", "--gpu", "h100", "--price", "3", "--mfu", "0.5")
    result = hfllm(*words)
    assert result.exit_code == 0, result.stderr
    assert "at 50% of the" in result.stdout
    assert "as given" in result.stdout
    assert "sft" not in result.stdout
    assert "at 3 a device and hour" in result.stdout
