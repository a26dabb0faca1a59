"""Constraints on an answer: drawn, said, and checked, strictly and loosely.

The kinds follow IFEval (Zhou et al. 2023, arXiv:2311.07911), as do the two readings: strictly the
answer as it stands; loosely also without its first or last line and without asterisks, which models
add around what was asked for. What there is to ask for stands in kinds.py.
"""

from __future__ import annotations

import random

from hfllm.instructions.kinds import KINDS, LAST_WORD, Parameters

_ORDER = {name: number for number, name in enumerate(KINDS)}


def compatible(name: str, taken: list[str]) -> bool:
    """Whether a kind can be kept together with those that are taken."""
    return name not in taken and not any(
        other in KINDS[name].not_with or name in KINDS[other].not_with for other in taken
    )


def worded(rng: random.Random, name: str, given: Parameters, is_test: bool) -> Parameters:
    """A constraint: its kind, its parameters and the words in which it is asked for."""
    text = rng.choice(KINDS[name].texts[is_test])
    return {"kind": name, "text": text.format(**given), **given}


def draw(rng: random.Random, count: int, is_test: bool, kinds: list[str]) -> list[Parameters]:
    """`count` constraints that can be kept together (fewer where no others go with the first)."""
    out: list[Parameters] = []
    for name in rng.sample(kinds, len(kinds)):
        if compatible(name, [one["kind"] for one in out]):
            out.append(worded(rng, name, rng.choice(KINDS[name].values[is_test]), is_test))
        if len(out) == count:
            break
    return out


def asked(instruction: str, constraints: list[Parameters]) -> str:
    """What the user says: the instruction, and after it the constraints."""
    return " ".join([instruction, *(one["text"] for one in constraints)])


def share_held(constraint: Parameters, answer: str) -> float:
    """How far an answer keeps one constraint, strictly: 0 to 1; an empty answer keeps none."""
    return float(KINDS[constraint["kind"]].share(answer, constraint)) if answer.strip() else 0.0


def holds(constraint: Parameters, answer: str) -> bool:
    """Whether an answer keeps one constraint, strictly."""
    return share_held(constraint, answer) == 1


def prefix_features(constraints: list[Parameters], prefix: str) -> list[float]:
    """What an answer's prefix tells of each kind: shares open, kept for good, broken for good.

    Three numbers a kind, in the order of KINDS; all of them add up to 1 (to 0 without constraints).
    The last word may still grow ("good" into "goodness"), so it keeps nothing yet.
    """
    out = [0.0] * (3 * len(KINDS))
    for one in constraints:
        kind, at = KINDS[one["kind"]], 3 * _ORDER[one["kind"]]
        kept = share_held(one, LAST_WORD.sub("", prefix)) if kind.lasting else 0.0
        broken = float(kind.broken(prefix, one))
        for offset, share in enumerate((1 - kept - broken, kept, broken)):
            out[at + offset] += share / len(constraints)
    return out


def all_hold(constraints: list[Parameters], answer: str, loosely: bool = False) -> bool:
    """Whether an answer keeps every constraint; loosely: each of them in some reading of it."""
    readings = loose_readings(answer) if loosely else [answer]
    return all(any(holds(one, reading) for reading in readings) for one in constraints)


def loose_readings(answer: str) -> list[str]:
    """IFEval's eight: as it stands, without first, last or both lines; each without asterisks."""
    lines = answer.split("\n")
    cuts = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cuts, *(cut.replace("*", "") for cut in cuts)]
