"""Where a message on a step stands: behind its key if it begins with one, else behind its name."""

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.runs.preflight import preflight
from hfllm.stages import sft


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("init: no such model", "sft.init: no such model"),
        ("data.mixture[0].path: gone", "sft.data.mixture[0].path: gone"),
        ("trainer.max_steps: 0", "sft.trainer.max_steps: 0"),
        ("sft.data.seq_len: 4", "sft.data.seq_len: 4"),
        ("sft: the tokenizer of 'x' has no template", "sft: the tokenizer of 'x' has no template"),
        ("the tokenizer of 'x': no template", "sft: the tokenizer of 'x': no template"),
        ("data/chats.jsonl: no rows", "sft: data/chats.jsonl: no rows"),
        ("chats.jsonl:3: no column", "sft: chats.jsonl:3: no column"),
        ("resume", "sft: resume"),
    ],
)
def test_a_message_is_behind_its_key_or_behind_the_step(workspace, message, line):
    spec = workspace.load().steps["sft"]
    assert spec.line(message) == line == spec.line(line)


@pytest.mark.parametrize("where", ["check", "first_rows"])
def test_what_a_stage_says_before_a_run_is_such_a_line(workspace, monkeypatch, where):
    recipe = workspace.load()
    said = iter(["the rows are odd", "data.mixture: odd"])
    stage = recipe.steps["sft"].stage
    object.__setattr__(stage, where, lambda _: said)
    try:
        with pytest.raises(RecipeError) as caught:
            preflight(recipe, ["sft"], with_trainers=False, with_rows=True)
    finally:
        object.__setattr__(stage, where, getattr(sft.STAGE, where))
    assert caught.value.problems == ["sft: the rows are odd", "sft.data.mixture: odd"]
