"""Answers of all models side by side, and samples during pretraining.

The prompts are selected by a rule that does not look at any text: they are sorted by the SHA-256 of
task and id, and taken from the tasks in turn; within a task alternately one that the last model got
right and one that it got wrong, so that both are shown. The selection is balanced, not
representative, so the true shares are shown too. Of a task without a checker (`correct` is null)
the first prompts in that order are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hfllm.report.collect import Run, StepView
from hfllm.report.number_format import exact, number, percent, short

RULE = (
    "Selected by a rule that does not look at the text: prompts are sorted by the SHA-256 of their "
    "task and id, and taken from the tasks in turn."
)
CHECKED = (
    " Within a task, prompts that {last} got right and got wrong alternate. The mix is therefore "
    "balanced, not representative; the true shares are: {shares}."
)
UNCHECKED = " No program can tell right from wrong in {tasks}: these answers have no such mark."
SHOWN_SAMPLES = 6  # samples shown per pretraining prompt


@dataclass(frozen=True)
class Answer:
    """One model's answer with its grades."""

    model: str
    text: str
    marks: list[tuple[str, str]]  # (kind: right | wrong | refused | cut, words)
    scores: list[tuple[str, str]]  # (name, value)


@dataclass(frozen=True)
class Exchange:
    """A prompt and every model's answer to it."""

    task: str
    id: str
    prompt: list[tuple[str, str]]  # (role, content)
    reference: str
    answers: list[Answer] = field(default_factory=list)


@dataclass(frozen=True)
class Selection:
    """The prompts that are shown of one evaluation step, and the rule that selected them."""

    step: str
    models: list[str]
    rule: str
    total: str
    exchanges: list[Exchange]

    def shown(self, most: int) -> list[Exchange]:
        """At most so many of the exchanges, spread over them."""
        return self.exchanges[:: max(1, len(self.exchanges) // most)][:most]


def selections(run: Run, side_by_side: int) -> list[Selection]:
    """For each evaluation step, at most `side_by_side` prompts."""
    return [_selection(s, run, side_by_side) for s in run.steps if _asked(s.samples)]


def _asked(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in samples if "model" in row and "output" in row]


def _selection(step: StepView, run: Run, most: int) -> Selection:
    rows = _asked(step.samples)
    models = run.in_order(str(r["model"]) for r in rows)
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        key = (str(row.get("task", "")), str(row.get("id", "")))
        groups.setdefault(key, {})[str(row["model"])] = row
    keys = select_prompts(groups, models[-1], most)
    rule = RULE + _rule(groups.values(), models[-1])
    exchanges = [_exchange(key, groups[key], models) for key in keys]
    return Selection(step.name, models, rule, exact(len(groups)), exchanges)


def _rule(groups: Iterable[dict[str, dict[str, Any]]], last: str) -> str:
    """The rule within a task, with the last model's shares of right answers."""
    by_task: dict[str, list[bool]] = {}
    for answers in groups:
        row = answers.get(last, {})
        marks = by_task.setdefault(str(row.get("task", "")).replace("_", " "), [])
        marks += [row["correct"]] if isinstance(row.get("correct"), bool) else []
    shares = [
        f"{task} {percent(sum(marks) / len(marks), 0)} right of {len(marks)}"
        for task, marks in sorted(by_task.items())
        if marks
    ]
    unchecked = sorted(task for task, marks in by_task.items() if task and not marks)
    words = CHECKED.format(last=last, shares=", ".join(shares)) if shares else ""
    return words + (UNCHECKED.format(tasks=", ".join(unchecked)) if unchecked else "")


def select_prompts(
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]], last: str, most: int
) -> list[tuple[str, str]]:
    """The keys (task, id) of the prompts to show, by the rule above.

    Args:
        groups: {(task, id): {model: row of samples.jsonl}}.
        last: the model whose right and wrong answers alternate.
        most: number of prompts.
    """
    heaps: dict[str, dict[bool, list[tuple[str, str]]]] = {}
    for key in sorted(groups, key=lambda k: hashlib.sha256("\0".join(k).encode()).hexdigest()):
        right = bool(groups[key].get(last, {}).get("correct"))
        heaps.setdefault(key[0], {True: [], False: []})[right].append(key)
    picked: list[tuple[str, str]] = []
    turn = 0
    while len(picked) < most and any(h[True] or h[False] for h in heaps.values()):
        for i, task in enumerate(sorted(heaps)):
            wanted = (turn + i) % 2 == 0
            heap = heaps[task][wanted] or heaps[task][not wanted]
            if heap and len(picked) < most:
                picked.append(heap.pop(0))
        turn += 1
    return sorted(picked, key=lambda key: (key[0], picked.index(key)))


def _exchange(key: tuple[str, str], rows: dict[str, dict[str, Any]], models: list[str]) -> Exchange:
    first = next(rows[m] for m in reversed(models) if m in rows)  # a chat prompt, if there is one
    reference = first.get("answer")
    return Exchange(
        task=key[0].replace("_", " "),
        id=key[1],
        prompt=messages(first.get("prompt")),
        reference="" if reference is None else str(reference),
        answers=[_answer(m, rows[m]) if m in rows else Answer(m, "", [], []) for m in models],
    )


def messages(prompt: Any) -> list[tuple[str, str]]:
    """A prompt as (role, content) pairs; plain text has an empty role."""
    if isinstance(prompt, list):
        turns = [m for m in prompt if isinstance(m, dict)]
        return [(str(m.get("role", "")), str(m.get("content", ""))) for m in turns]
    return [("", "" if prompt is None else str(prompt))]


def _answer(model: str, row: dict[str, Any]) -> Answer:
    marks = []
    if isinstance(row.get("correct"), bool):
        marks.append(("right", "correct") if row["correct"] else ("wrong", "wrong"))
    if row.get("refused") is True:
        marks.append(("refused", "refused"))
    if row.get("ended") is False:
        marks.append(("cut", "unfinished"))
    names = (("true_score", "true score"), ("reward", "reward model"))
    scores = [(w, short(row[k])) for k, w in names if number(row.get(k)) is not None]
    return Answer(model, str(row.get("output") or ""), marks, scores)


@dataclass(frozen=True)
class SampleHistory:
    """The continuations of one prompt at several steps of pretraining."""

    step: str
    prompt: str
    samples: list[tuple[str, str]]  # (training step, text)


def sample_histories(run: Run) -> list[SampleHistory]:
    """Per pretraining prompt: the first and the last sample, and others evenly between them."""
    out = []
    for step in run.steps:
        rows = [r for r in step.samples if "text" in r and "output" not in r]
        for prompt in dict.fromkeys(str(r.get("prompt", "")) for r in rows):
            own = [r for r in rows if str(r.get("prompt", "")) == prompt]
            by_step = {number(r.get("step")) or 0.0: str(r["text"]) for r in own}
            samples = sorted(by_step.items())
            last = len(samples) - 1
            picks = sorted({round(i * last / (SHOWN_SAMPLES - 1)) for i in range(SHOWN_SAMPLES)})
            shown = [(exact(samples[i][0]), samples[i][1]) for i in picks]
            out.append(SampleHistory(step.name, prompt, shown))
    return out
