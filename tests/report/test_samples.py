"""Which answers are shown side by side, and the samples of pretraining."""

from __future__ import annotations

from pathlib import Path

from hfllm.report.collect import Run, StepView
from hfllm.report.markdown import to_markdown
from hfllm.report.page import gather, render
from hfllm.report.view.samples import messages, sample_histories, select_prompts, selections
from hfllm.stages import find_stages

STAGES = find_stages()


def group(tasks: dict[str, int]) -> dict[tuple[str, str], dict[str, dict[str, bool]]]:
    keys = [(task, str(i)) for task, count in tasks.items() for i in range(count)]
    return {key: {"m": {"correct": int(key[1]) % 4 == 0}} for key in keys}


def test_the_choice_is_balanced_over_tasks_and_outcomes() -> None:
    groups = group({"a": 40, "b": 40, "c": 40})
    keys = select_prompts(groups, "m", 12)
    assert [task for task, _ in keys] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert sum(groups[key]["m"]["correct"] for key in keys) == 6


def test_the_choice_depends_on_neither_order_nor_text() -> None:
    groups = group({"a": 40, "b": 7})
    backwards = dict(reversed(groups.items()))
    assert select_prompts(groups, "m", 10) == select_prompts(backwards, "m", 10)


def test_no_more_than_there_are() -> None:
    groups = group({"a": 3, "b": 1})
    assert sorted(select_prompts(groups, "m", 99)) == sorted(groups)
    assert select_prompts({}, "m", 5) == []


def test_marks_scores_and_the_rule_of_a_whole_run(run: Run) -> None:
    selection = selections(run, 12)[0]
    assert len(selection.exchanges) == 12 and selection.total == "120"
    assert "ppo got right" in selection.rule and "unknown people" in selection.rule
    answers = [answer for exchange in selection.exchanges for answer in exchange.answers]
    assert [answer.model for answer in answers[:3]] == ["pretrain", "sft", "ppo"]
    assert {kind for a in answers for kind, _ in a.marks} == {"right", "wrong", "refused", "cut"}
    assert all(name in ("true score", "reward model") for a in answers for name, _ in a.scores)


def test_prompts_may_be_text_or_messages() -> None:
    assert messages("Who?") == [("", "Who?")]
    assert messages([{"role": "user", "content": "Who?"}]) == [("user", "Who?")]
    assert messages(None) == [("", "")]


def test_a_sample_history_has_the_first_and_the_last_sample(run: Run) -> None:
    history = sample_histories(run)[0]
    assert history.prompt == "Question: What is the job of"
    assert len(history.samples) == 6
    assert [history.samples[0][0], history.samples[-1][0]] == ["100", "700"]


def unchecked(task: str, count: int) -> list[dict]:
    return [
        {"task": task, "id": str(i), "model": "ppo", "prompt": "Tell me.", "output": "I am.",
         "answer": None, "correct": None, "refused": None, "ended": True, "true_score": None,
         "reward": 0.5}
        for i in range(count)
    ]  # fmt: skip


def test_an_answer_that_nobody_checked_carries_no_verdict() -> None:
    rows = unchecked("open_prompts", 5)
    run = Run(
        "r", Path("r"), [StepView("evaluate", STAGES["evaluate"], "done", samples=rows)], "", []
    )
    selection = selections(run, 3)[0]
    assert "open prompts" in selection.rule and "got right" not in selection.rule
    assert [e.answers[0].marks for e in selection.exchanges] == [[]] * 3
    assert {e.reference for e in selection.exchanges} == {""}
    rows += [row | {"task": "sums", "correct": True, "answer": "4"} for row in rows]
    run = Run(
        "r", Path("r"), [StepView("evaluate", STAGES["evaluate"], "done", samples=rows)], "", []
    )
    mixed = selections(run, 4)[0]
    assert "sums 100% right of 5" in mixed.rule and "from wrong in open prompts:" in mixed.rule
    markdown = to_markdown(gather(run, None, 4))
    assert markdown.count("expected: 4") == 2 and "expected: –" not in markdown
    page = render(gather(run, None, 4))
    assert page.count('class="badge right"') == 2 and 'class="badge wrong"' not in page


def test_what_the_run_started_from_answers_first_and_the_rule_goes_by_the_last_step() -> None:
    rows = [
        {"task": "t", "id": str(i), "model": model, "prompt": "?", "output": ".", "correct": right}
        for i in range(4)
        for model, right in (("ppo", i == 0), ("theirs", True))
    ]
    steps = [
        StepView("ppo", STAGES["ppo"], "done"),
        StepView("evaluate", STAGES["evaluate"], "done", samples=rows),
    ]
    (selection,) = selections(Run("r", Path("r"), steps, "", []), 2)
    assert selection.models == ["theirs", "ppo"] and "t 25% right of 4" in selection.rule
