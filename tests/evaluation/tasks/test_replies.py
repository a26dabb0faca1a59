"""The `replies` and `instructions` tasks: what is measured of open prompts, and what stays null."""

import json

import pytest
from evaluation_rows import answer_row

from hfllm.evaluation.run import differences, evaluate_models
from hfllm.evaluation.specs import ModelSpec, ScorerSpecs, TaskSpec
from hfllm.evaluation.tasks import answers, instructions, replies
from hfllm.evaluation.tasks.answers import summarize_all
from hfllm.inference.generate import Answer
from hfllm.inference.prompts import positions

OPEN = [
    {"id": str(i), "prompt": [{"role": "user", "content": f"Tell me of {i}."}]} for i in range(5)
]
TASKS = {
    "known_facts": TaskSpec("answers", [answer_row(i) for i in range(6)], None, 8),
    "open": TaskSpec("replies", OPEN, 4, 8),
}


@pytest.fixture(scope="module")
def evaluated(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate")
    specs = [ModelSpec(name, folders[name], name != "pretrain") for name in ("sft", "ppo")]
    judge = ModelSpec("reward", folders["reward"])
    evaluate_models(specs, TASKS, out, ScorerSpecs(judge, specs[0]), batch_size=4)
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    return json.loads((out / "results.json").read_text()), samples


def metrics(found, task):
    return {r["metric"]: r["n"] for r in found["results"] if (r["model"], r["task"]) == task}


def test_what_cannot_be_checked_is_null(evaluated):
    _, samples = evaluated
    told = [s for s in samples if s["task"] == "open"]
    assert len(told) == 8
    for sample in told:
        nulls = {key for key, value in sample.items() if value is None}
        assert {"answer", "correct", "refused", "true_score", "answerable"} <= nulls
        assert isinstance(sample["reward"], float) and isinstance(sample["ended"], bool)


def test_replies_have_no_accuracy_and_add_none_to_all_answers(evaluated):
    found, _ = evaluated
    wanted = {"ended", "answer_tokens", "reward", "looping", "same_answer"}
    assert metrics(found, ("ppo", "open")) == dict.fromkeys(wanted, 4)
    everything = metrics(found, ("ppo", "all_answers"))
    assert everything["accuracy"] == everything["true_score"] == 6
    assert everything["reward"] == everything["ended"] == everything["kl"] == 10


def test_rewards_are_compared_row_by_row_and_accuracy_over_the_checked(evaluated):
    found, samples = evaluated
    gaps = {(g["task"], g["metric"]): g for g in found["differences"]}
    assert gaps["open", "reward"]["n"] == 4 and ("open", "accuracy") not in gaps
    assert gaps["all_answers", "reward"]["n"] == 10
    assert gaps["all_answers", "accuracy"]["n"] == gaps["all_answers", "true_score"]["n"] == 6
    reward = {(s["model"], s["id"]): s["reward"] for s in samples if s["task"] == "open"}
    mean = sum(reward["ppo", str(i)] - reward["sft", str(i)] for i in range(4)) / 4
    assert gaps["open", "reward"]["value"] == pytest.approx(mean)


def test_open_prompts_alone_are_compared_in_every_measure_of_a_row(folders, tmp_path):
    rows = [{**row, "reply": "Number 1 is a baker. Good."} for row in OPEN]
    specs = [ModelSpec(name, folders[name], True) for name in ("sft", "ppo")]
    evaluate_models(specs, {"open": TaskSpec("replies", rows, None, 8)}, tmp_path, batch_size=4)
    found = json.loads((tmp_path / "results.json").read_text())
    values = {(r["model"], r["metric"]): r["value"] for r in found["results"]}
    gaps = {g["metric"]: g for g in found["differences"] if g["task"] == "open"}
    assert set(gaps) == {"reply_loss", "ended", "answer_tokens", "looping"}
    for metric, gap in gaps.items():
        gain = values["ppo", metric] - values["sft", metric]
        assert gap["n"] == 5 and gap["value"] == pytest.approx(gain)


def test_a_reply_longer_than_the_model_is_left_out_of_the_loss_and_said(tested, capsys):
    replies_given = ["Good.", "word " * positions(tested.model)]
    rows = [{**row, "reply": text} for row, text in zip(OPEN, replies_given, strict=False)]
    samples = replies.ask(tested, "open", TaskSpec("replies", rows))
    assert [s.reply_nats is None for s in samples] == [False, True]
    assert "open: 1 of 2 replies do not fit the model's" in capsys.readouterr().out
    found = {r["metric"]: r["n"] for r in replies.summarize(samples)}
    assert found["reply_loss"] == 1 and found["ended"] == 2
    nothing = replies.ask(tested, "open", TaskSpec("replies", rows[1:]))
    assert "reply_loss" not in {r["metric"] for r in replies.summarize(nothing)}


def test_a_run_of_open_prompts_alone_has_no_accuracy_at_all(tested):
    samples = replies.ask(tested, "open", TASKS["open"])
    assert {r["metric"] for r in summarize_all(samples)} == {"ended", "answer_tokens"}
    assert "accuracy" not in {r["metric"] for r in replies.summarize(samples)}
    assert differences(samples, ["sft", "other"]) == []


def test_open_prompts_are_asked_as_questions_are(tested):
    rows = [{k: v for k, v in answer_row(i).items() if k in ("id", "prompt")} for i in range(3)]
    checked = answers.ask(tested, "t", TaskSpec("answers", [answer_row(i) for i in range(3)]))
    open_ones = replies.ask(tested, "t", TaskSpec("replies", rows))
    for ours, theirs in zip(open_ones, checked, strict=True):
        same = ("id", "prompt", "output", "ended", "tokens")
        assert [getattr(ours, k) for k in same] == [getattr(theirs, k) for k in same]


def test_instructions_are_checked_strictly_loosely_and_per_kind(tested):
    lower, brief = {"kind": "lowercase"}, {"kind": "max_words", "words": 2}
    asked = [[lower], [lower, brief], [brief]]
    said = ["fine", "all of it", "Sure:\nTwo words"]
    rows = [{"id": str(i), "prompt": f"Say {i}", "constraints": one} for i, one in enumerate(asked)]

    def answer(prompts, *_, **__):
        return [Answer(text, 3, True, [1], [1]) for text in said]

    tested.generator.answer = answer
    samples = instructions.ask(tested, "keep", TaskSpec("instructions", rows))
    assert [s.correct for s in samples] == [True, False, False]
    found = {(r["task"], r["metric"]): r["value"] for r in instructions.summarize(samples)}
    assert found["keep", "accuracy"] == pytest.approx(1 / 3)
    assert found["keep", "accuracy_loose"] == pytest.approx(2 / 3)
    assert found["keep/lowercase", "accuracy"] == 1.0
    assert found["keep/max_words", "accuracy"] == 0.0
    assert found["keep", "ended"] == 1.0 and found["keep", "same_answer"] == 0.0
    with pytest.raises(ValueError, match="an `instructions` row has `prompt` and `constraints`"):
        instructions.ask(tested, "keep", TaskSpec("instructions", [{"id": "0", "prompt": "a"}]))
