"""The instructions step: its files, which ppo and evaluate read, and its ledger."""

import json
from pathlib import Path

import pytest

from hfllm.data.reading.examples import read_prompts
from hfllm.instructions.constraints import all_hold
from hfllm.recipe.config import SourceConfig
from hfllm.rl.rewards import keeps_constraints, share_of_constraints
from hfllm.runs.manifest import Manifest
from hfllm.runs.preflight import preflight
from tiny import Workspace, prompt, write_jsonl

RECIPE = """
name: tiny
instructions:
  prompts: [{path: data/open.jsonl}]
  tests: 4
  kinds: [lowercase, no_comma]
"""


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = Workspace(tmp_path)
    rows = [{**prompt(i), "id": f"q{i}"} for i in range(12)]
    write_jsonl(tmp_path / "data/open.jsonl", [*rows, rows[0] | {"id": "again"}])
    space.write(RECIPE)
    return space


def test_prompts_and_tests_are_written_and_counted(space):
    step = space.run("instructions")
    files = {
        name: [json.loads(line) for line in (step.data / f"{name}.jsonl").read_text().splitlines()]
        for name in ("prompts_train", "tests")
    }
    assert {name: len(rows) for name, rows in files.items()} == {"prompts_train": 8, "tests": 4}
    manifest = Manifest.read(step.manifest)
    assert manifest.metrics["rows/tests.jsonl"] == 4
    dropped = [row for row in manifest.ledger if row["bucket"] == "dropped:duplicate"]
    assert sum(row["documents"] for row in dropped) == 1
    source = SourceConfig(step="instructions", file="prompts_train.jsonl")
    row = next(read_prompts([source], lambda name: step.data))
    answer = [[{"role": "assistant", "content": text}] for text in ("all of it", "All, of it")]
    rewards = keeps_constraints(answer, constraints=[row["constraints"]] * 2)
    assert rewards == [1.0, 0.0]
    two = [[{"kind": "no_comma"}, {"kind": "lowercase"}], None]
    assert share_of_constraints([answer[0], answer[0]], constraints=two) == [1.0, None]
    assert share_of_constraints([[{"content": "All of it"}]], constraints=two[:1]) == [0.5]
    words = [{"kind": "contains", "contained": ["all", "world"]}, {"kind": "lowercase"}]
    noted: dict[str, float] = {}
    shares = share_of_constraints(
        [answer[0], [{"content": ""}]], constraints=[words, words], log_metric=noted.__setitem__
    )
    assert shares == [0.75, 0.0]
    assert noted == {"kept/contains": 0.0, "kept/lowercase": 0.5}  # strictly: one word is not two


def test_an_unknown_kind_is_told_before_anything_runs(space):
    with pytest.raises(ValueError, match="instructions.kinds: 'rhyme' is none of lowercase"):
        preflight(space.load("instructions.kinds=[rhyme]"), ["instructions"])


def test_demonstrations_come_from_the_sources_own_answers(space):
    said = {"role": "assistant", "content": "Yes."}
    answered = [{"id": f"q{i}", "messages": [*prompt(i)["prompt"], said]} for i in range(12)]
    write_jsonl(Path("data/open.jsonl"), answered)
    step = space.run("instructions", "instructions.demonstrations=6")
    chats = [json.loads(line) for line in (step.data / "chats_train.jsonl").open()]
    asked = {json.loads(line)["id"] for line in (step.data / "tests.jsonl").open()}
    assert len(chats) == 6 and not asked & {row["id"] for row in chats}
    assert all(all_hold(row["constraints"], row["messages"][1]["content"]) for row in chats)
    few = space.run("instructions", "instructions.demonstrations=9")
    manifest = Manifest.read(few.manifest)
    assert "8 of 9 demonstrations" in manifest.notes[0]
    assert manifest.metrics["shown/lowercase"] + manifest.metrics["shown/no_comma"] >= 8
    assert manifest.metrics["passed_over/unanswered"] == 0


def test_an_answer_is_never_put_behind_another_question(space):
    """Ids may repeat: two files of one name, rows with ids of their own."""
    for name, answer in (("en", "Paris."), ("de", "Rom.")):
        said = {"role": "assistant", "content": answer}
        asked = [{"role": "user", "content": f"Capital {i}, {name}?"} for i in range(7)]
        rows = [{"id": "same", "messages": [one, said]} for one in asked]
        write_jsonl(Path(f"data/{name}/open.jsonl"), rows)
    prompts = 'instructions.prompts=[{path: "data/*/open.jsonl"}]'
    step = space.run("instructions", prompts, "instructions.demonstrations=9")
    chats = [json.loads(line)["messages"] for line in (step.data / "chats_train.jsonl").open()]
    assert len(chats) == 9
    for asked, said in chats:
        right = "rom." if ", de?" in asked["content"] else "paris."
        assert said["content"].lower() == right


def test_demonstrations_of_prompts_without_answers_are_refused(space):
    with pytest.raises(ValueError, match=r"open.jsonl:1: no column messages .*which is a prompt"):
        space.run("instructions", "instructions.demonstrations=2")
