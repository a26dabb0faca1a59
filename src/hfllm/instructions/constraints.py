"""Constraints on an answer: draw them, add them to a prompt, check answers strictly or loosely.

A constraint is a dict: its kind (kinds.py), the text in the prompt, and its parameters. The two
ways to check follow IFEval (Zhou et al. 2023, arXiv:2311.07911): strictly, the answer as it is;
loosely, also without its first or last line and without asterisks, which models often add.
"""

from __future__ import annotations

import random

from hfllm.instructions.kinds import KINDS, LAST_WORD, Parameters

_ORDER = {name: number for number, name in enumerate(KINDS)}


def compatible(name: str, taken: list[str]) -> bool:
    """Whether a kind of constraint can be satisfied together with those that are taken."""
    return name not in taken and not any(
        other in KINDS[name].not_with or name in KINDS[other].not_with for other in taken
    )


def worded(rng: random.Random, name: str, given: Parameters, is_test: bool) -> Parameters:
    """The constraint of one kind in a random phrasing.

    Args:
        rng: draws the phrasing.
        name: the kind.
        given: its parameters.
        is_test: use the phrasings of the tests.
    """
    text = rng.choice(KINDS[name].texts[is_test])
    return {"kind": name, "text": text.format(**given), **given}


def draw(rng: random.Random, count: int, is_test: bool, kinds: list[str]) -> list[Parameters]:
    """Draw constraints that can be satisfied together.

    Args:
        rng: draws kinds, parameters and phrasings.
        count: constraints wanted; fewer if no other kind is compatible.
        is_test: use the parameters and phrasings of the tests.
        kinds: kinds to draw from.
    """
    out: list[Parameters] = []
    for name in rng.sample(kinds, len(kinds)):
        if compatible(name, [one["kind"] for one in out]):
            out.append(worded(rng, name, rng.choice(KINDS[name].values[is_test]), is_test))
        if len(out) == count:
            break
    return out


def asked(instruction: str, constraints: list[Parameters]) -> str:
    """The user's message: the instruction, followed by the texts of the constraints."""
    return " ".join([instruction, *(one["text"] for one in constraints)])


def share_held(constraint: Parameters, answer: str) -> float:
    """Degree, 0 to 1, to which an answer strictly satisfies a constraint; 0 if it is empty."""
    return float(KINDS[constraint["kind"]].share(answer, constraint)) if answer.strip() else 0.0


def holds(constraint: Parameters, answer: str) -> bool:
    """Whether an answer strictly satisfies a constraint."""
    return share_held(constraint, answer) == 1


def prefix_features(constraints: list[Parameters], prefix: str) -> list[float]:
    """What a prefix of an answer already decides about its constraints, as features of a critic.

    Three numbers per kind, in the order of KINDS: the shares that are open, satisfied for good and
    violated for good, whatever follows. They add up to 1 (to 0 without constraints). The last word
    is ignored for "satisfied", because it may continue ("good" in "goodness").
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
    """Whether an answer satisfies every constraint; loosely: each in one of the loose readings."""
    readings = loose_readings(answer) if loosely else [answer]
    return all(any(holds(one, reading) for reading in readings) for one in constraints)


def loose_readings(answer: str) -> list[str]:
    """IFEval's eight: whole, without the first, last or both lines; each also without asterisks."""
    lines = answer.split("\n")
    cuts = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cuts, *(cut.replace("*", "") for cut in cuts)]
