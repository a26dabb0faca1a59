"""Whatever is left out of training or of a test is in the step's output, by reason, and counted."""

import json

import pytest

SOURCES = {
    "tokenizer": ("documents", "data"),
    "pretrain": ("documents", "data.mixture"),
    "sft": ("chats", "data.mixture"),
    "reward": ("pairs", "data.mixture"),
    "ppo": ("prompts", "data.mixture"),
}
TEST = {
    "stage": "evaluate",
    "models": ["sft"],
    "tasks": {
        "told": {
            "kind": "replies",
            "source": {"path": "data/mine.jsonl", "on_error": "skip"},
            "limit": 2,
        }
    },
}


def damaged(workspace, name: str, lines: int) -> str:
    """data/mine.jsonl: the rows of a file and `lines` broken ones; the source as an override."""
    good = (workspace.folder / "data" / f"{name}.jsonl").read_text()
    (workspace.folder / "data" / "mine.jsonl").write_text(good + '{"text": broken\n' * lines)
    return "path: data/mine.jsonl, on_error: skip"


def run(workspace, name: str, source: str):
    pays = {"reward": None, "reward_functions": ["hfllm.rl.rewards:length_reward"]}
    workspace.recipe({"ppo": pays})
    return workspace.run(name, f"{name}.{SOURCES[name][1]}=[{{{source}}}]")


def ledger_of(step) -> dict[str, int]:
    rows = json.loads(step.manifest.read_text())["ledger"]
    return {row["bucket"]: row["documents"] for row in rows}


@pytest.mark.parametrize("name", SOURCES)
def test_broken_rows_are_counted_and_said_by_every_stage(trained, capsys, name):
    step = run(trained, name, damaged(trained, SOURCES[name][0], lines=2))
    ledger, out = ledger_of(step), capsys.readouterr().out
    said = f"  mine: 2 of {ledger['in']} rows left out: 2 unreadable (first data/mine.jsonl:"
    assert said in out
    assert ledger["dropped:unreadable"] == 2


def test_broken_rows_of_a_test_are_counted_and_said(trained, capsys):
    damaged(trained, "chats", lines=2)
    trained.recipe({"eval": TEST})
    step = trained.run("eval")
    assert "mine: 2 of 26 rows left out: 2 unreadable (first data/" in capsys.readouterr().out
    assert ledger_of(step)["dropped:unreadable"] == 2


@pytest.mark.parametrize("name", SOURCES)
def test_more_than_half_left_out_stops_every_stage(trained, name):
    source = damaged(trained, SOURCES[name][0], lines=100)
    with pytest.raises(ValueError, match="source 'mine': 100 of .*`allow_dropped` on the source"):
        run(trained, name, source)
    if name == "tokenizer":
        assert ledger_of(run(trained, name, f"{source}, allow_dropped: 0.9"))["kept"] == 60
