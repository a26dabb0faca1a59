"""Answers side by side, chosen by a rule that looks at no text, and samples along pretraining.

Prompts are sorted by the SHA-256 of task and id. The choice goes round the tasks, and within a
task takes in turn one that the last model got right and one that it got wrong, so that both are
seen; the true shares stand beside, because the choice itself is balanced and not representative.
Of a task that no program can check (`correct` is null) the first ones of that order are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hfllm.report.collect import Run, StepView
from hfllm.report.number_format import exact, number, percent, short

RULE = (
    "Chosen by rule, not by taste: prompts are sorted by the SHA-256 of their task and id, and the "
    "choice goes round the tasks."
)
CHECKED = (
    " It takes in turn one that {last} got right and one that it got wrong. The mix is therefore "
    "balanced, not representative; the true shares are: {shares}."
)
UNCHECKED = " No program can tell right from wrong in {tasks}: these answers carry no such mark."
MOMENTS = 6  # samples shown per pretraining prompt


@dataclass(frozen=True)
class Answer:
    """One model's answer with its marks."""

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
class Choice:
    """What is shown of one evaluation step."""

    step: str
    models: list[str]
    rule: str
    total: str
    exchanges: list[Exchange]


def choices(run: Run, side_by_side: int) -> list[Choice]:
    """For each evaluation step, at most `side_by_side` prompts."""
    return [_choice(s, run, side_by_side) for s in run.steps if _asked(s.samples)]


def _asked(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in samples if "model" in row and "output" in row]


def _choice(step: StepView, run: Run, most: int) -> Choice:
    rows = _asked(step.samples)
    models = run.in_order(str(r["model"]) for r in rows)
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        key = (str(row.get("task", "")), str(row.get("id", "")))
        groups.setdefault(key, {})[str(row["model"])] = row
    keys = chosen(groups, models[-1], most)
    rule = RULE + _rule(groups.values(), models[-1])
    exchanges = [_exchange(key, groups[key], models) for key in keys]
    return Choice(step.name, models, rule, exact(len(groups)), exchanges)


def _rule(groups: Iterable[dict[str, dict[str, Any]]], last: str) -> str:
    """How the choice went within a task, with the shares of right answers of the last model."""
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


def chosen(
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]], last: str, most: int
) -> list[tuple[str, str]]:
    """Keys (task, id) by the rule of the module."""
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
class Growth:
    """How the continuation of one prompt changed while a model was pretrained."""

    step: str
    prompt: str
    moments: list[tuple[str, str]]  # (training step, text)


def growths(run: Run) -> list[Growth]:
    """Per pretraining prompt, first and last sample and others evenly between them."""
    out = []
    for step in run.steps:
        rows = [r for r in step.samples if "text" in r and "output" not in r]
        for prompt in dict.fromkeys(str(r.get("prompt", "")) for r in rows):
            told = [r for r in rows if str(r.get("prompt", "")) == prompt]
            by_step = {number(r.get("step")) or 0.0: str(r["text"]) for r in told}
            moments = sorted(by_step.items())
            last = len(moments) - 1
            picks = sorted({round(i * last / (MOMENTS - 1)) for i in range(MOMENTS)})
            shown = [(exact(moments[i][0]), moments[i][1]) for i in picks]
            out.append(Growth(step.name, prompt, shown))
    return out
