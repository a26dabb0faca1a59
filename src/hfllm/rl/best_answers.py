"""Choose among scored answers: the best to each prompt as a chat, best and worst as a pair.

Rejection sampling: Llama 2 (Touvron et al. 2023, arXiv:2307.09288, section 3.2.3) fine-tunes on the
best of n answers to each prompt, RAFT (Dong et al. 2023, arXiv:2304.06767) on the best of them over
the prompts (`top`). Every prompt that gives no chat or no pair is counted under one reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class SampledAnswer:
    """An answer with its scores; `score` is their weighted sum, None if nothing scores it."""

    text: str
    tokens: int  # with the stop token
    ended: bool  # by itself; False: at the token limit
    has_control_tokens: bool  # inside, which the text leaves out
    score: float | None
    scores: dict[str, float | None]


Groups = Sequence[Sequence[SampledAnswer]]  # the answers to each prompt


@dataclass(frozen=True)
class Rules:
    """What is kept."""

    keep_unended: bool = False
    min_score: float | None = None  # of a chat
    top: float = 1.0  # share of the prompts whose chats are kept
    min_margin: float = 0.0  # between the answers of a pair


@dataclass
class Chosen:
    """Numbers of the chosen answers by the prompt's number; prompts without, by reason."""

    chats: dict[int, int] = field(default_factory=dict)
    pairs: dict[int, tuple[int, int]] = field(default_factory=dict)  # best, worst
    no_chat: Counter[str] = field(default_factory=Counter)
    no_pair: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # answers that are never chosen


def why_left_out(answer: SampledAnswer, rules: Rules) -> str | None:
    """Why an answer may stand neither in a chat nor in a pair; None if it may."""
    if answer.score is None:
        return "unscored"
    if not answer.ended and not rules.keep_unended:
        return "unended"
    if answer.has_control_tokens:
        return "control_tokens"  # the text is not what the model said
    return None if answer.text.strip() else "empty"


def choose_answers(groups: Groups, rules: Rules) -> Chosen:
    """The chats and pairs of the answers to each prompt; of equally good answers the first one."""
    chosen = Chosen()
    for number, answers in enumerate(groups):
        reasons = [why_left_out(answer, rules) for answer in answers]
        chosen.left_out.update(reason for reason in reasons if reason)
        usable = [i for i, reason in enumerate(reasons) if reason is None]
        _add_chat(chosen, number, answers, usable, rules)
        _add_pair(chosen, number, answers, usable, rules)
    _keep_top(chosen, groups, rules.top)
    return chosen


def _score(answers: Sequence[SampledAnswer], i: int) -> float:
    score = answers[i].score
    assert score is not None
    return score


def _add_chat(
    chosen: Chosen, number: int, answers: Sequence[SampledAnswer], usable: list[int], rules: Rules
) -> None:
    if not usable:
        chosen.no_chat["no usable answer"] += 1
        return
    best = max(usable, key=lambda i: _score(answers, i))
    if rules.min_score is not None and _score(answers, best) < rules.min_score:
        chosen.no_chat["below min_score"] += 1
    else:
        chosen.chats[number] = best


def _add_pair(
    chosen: Chosen, number: int, answers: Sequence[SampledAnswer], usable: list[int], rules: Rules
) -> None:
    if len(usable) < 2:
        chosen.no_pair["fewer than two usable answers"] += 1
        return
    best = max(usable, key=lambda i: _score(answers, i))
    worst = min(usable, key=lambda i: _score(answers, i))
    margin = _score(answers, best) - _score(answers, worst)
    same = answers[best].text.strip() == answers[worst].text.strip()
    if margin <= 0 or same:  # a reward model's scores of one text differ by rounding
        chosen.no_pair["equal scores"] += 1
    elif margin < rules.min_margin:
        chosen.no_pair["below min_margin"] += 1
    else:
        chosen.pairs[number] = (best, worst)


def _keep_top(chosen: Chosen, groups: Groups, top: float) -> None:
    """Keep the share `top` of the chats, those of the highest scores, at least one."""
    ranked = sorted(chosen.chats, key=lambda i: -_score(groups[i], chosen.chats[i]))
    kept = set(ranked[: math.ceil(round(top * len(ranked), 9))])
    chosen.no_chat["not in top"] += len(ranked) - len(kept)
    chosen.no_chat += Counter()  # drops zeros
    chosen.chats = {number: best for number, best in chosen.chats.items() if number in kept}


def record(groups: Groups, chosen: Chosen, step: Step, manifest: Manifest) -> None:
    """Count in the manifest, and print, what was kept and what left out for which reason.

    Raises:
        ValueError: there is no chat.
    """
    prompts, answers = len(groups), sum(map(len, groups))
    assert prompts == len(chosen.chats) + chosen.no_chat.total()
    assert prompts == len(chosen.pairs) + chosen.no_pair.total()
    manifest.metrics |= {
        "prompts": prompts,
        "answers": answers,
        "answers_per_prompt": answers // prompts,
        "chats": len(chosen.chats),
        "pairs": len(chosen.pairs),
        **{f"answers_left_out/{reason}": n for reason, n in chosen.left_out.items()},
    }
    lines = [
        *_counted(f"of {answers:,} answers in no chat and no pair", chosen.left_out),
        *_counted(f"of {prompts:,} prompts without a chat", chosen.no_chat),
        *_counted(f"of {prompts:,} prompts without a pair", chosen.no_pair),
    ]
    if 2 * chosen.left_out["unended"] > answers:
        lines.append("most answers did not end: raise max_completion_length")
    manifest.notes += lines
    for line in lines:
        print(f"  {line}", flush=True)
    if not chosen.chats:
        raise ValueError(f"{step.name}: no chat is left: {'; '.join(lines)}; {_remedy(chosen)}")


def _counted(what: str, reasons: Counter[str]) -> list[str]:
    """`12 of 100 prompts without a pair: equal scores 12`, or nothing."""
    words = ", ".join(f"{reason} {n:,}" for reason, n in reasons.most_common())
    return [f"{reasons.total():,} {what}: {words}"] if reasons else []


def _remedy(chosen: Chosen) -> str:
    if "below min_score" in chosen.no_chat:
        return "lower min_score, or leave it out if pairs are enough"
    most = chosen.left_out.most_common(1)[0][0]
    return {
        "unended": "raise max_completion_length, or set keep_unended: true",
        "unscored": "check the columns that the reward functions read",
    }.get(most, "look at the model's answers with `hfllm chat`")


def chats(rows: Rows, groups: Groups, chosen: Chosen) -> list[dict[str, Any]]:
    """The best answers as chats, with their scores."""
    return [
        {
            "id": rows[i]["id"],
            "messages": [*rows[i]["prompt"], _message(groups[i][best])],
            "score": groups[i][best].score,
        }
        for i, best in chosen.chats.items()
    ]


def pairs(rows: Rows, groups: Groups, chosen: Chosen) -> list[dict[str, Any]]:
    """The best and the worst answers as pairs, with their scores."""
    return [
        {
            "id": rows[i]["id"],
            "prompt": rows[i]["prompt"],
            "chosen": [_message(groups[i][best])],
            "rejected": [_message(groups[i][worst])],
            "score_chosen": groups[i][best].score,
            "score_rejected": groups[i][worst].score,
        }
        for i, (best, worst) in chosen.pairs.items()
    ]


def samples(rows: Rows, groups: Groups, rules: Rules) -> list[dict[str, Any]]:
    """All answers, a row each; `left_out` says why one is in no chat and no pair."""
    return [
        {
            "id": row["id"],
            "number": number,
            "prompt": row["prompt"],
            "completion": [_message(answer)],
            "score": answer.score,
            "scores": answer.scores,
            "ended": answer.ended,
            "tokens": answer.tokens,
            "left_out": why_left_out(answer, rules),
        }
        for row, group in zip(rows, groups, strict=True)
        for number, answer in enumerate(group)
    ]


def _message(answer: SampledAnswer) -> dict[str, str]:
    return {"role": "assistant", "content": answer.text}
