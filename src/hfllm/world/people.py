"""The people of the small world, their facts, and the held-out sets.

Known people appear in documents. Strangers are other combinations of the same first and last names,
so that a model must recognise the full name and not a part of it; half of them, at most 200, are
held out for tests, the others may occur in training questions. A fact is `asked` if fine-tuning
data may ask for it; results on the other facts show whether fine-tuning taught facts or only the
form of an answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfllm.world.values import FACT_VALUES, FACTS, FIRST_NAMES, LAST_NAMES, spelling_words

if TYPE_CHECKING:
    from hfllm.world.config import WorldConfig

ASKED_SHARE = 0.8  # of the (person, fact) pairs, and of the words to spell
BEARERS = 2  # known people who share a first name
# The rest is for training: with few of them a model memorises the strangers, not the known people.
MAX_TEST_STRANGERS = 200


@dataclass(frozen=True)
class Person:
    """A name, its pronoun, and the value of each fact (no facts for strangers)."""

    first: str
    last: str
    pronoun: str  # "she" | "he"
    facts: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Full name."""
        return f"{self.first} {self.last}"

    @property
    def possessive(self) -> str:
        """Return "her" or "his"."""
        return "her" if self.pronoun == "she" else "his"

    @property
    def objective(self) -> str:
        """Return "her" or "him"."""
        return "her" if self.pronoun == "she" else "him"


@dataclass(frozen=True)
class World:
    """The people and held-out sets of one seed, as all writers use them."""

    seed: int
    known: tuple[Person, ...]
    strangers: tuple[Person, ...]  # for training data
    test_strangers: tuple[Person, ...]  # never in training data
    asked: frozenset[tuple[str, str]]  # (name, fact) that training data may ask for
    asked_words: frozenset[str]  # words that training chats may ask to spell or count
    reserved: frozenset[tuple[str, int, int]]  # arithmetic kept for tests, see `sums`

    def rng(self, purpose: str) -> random.Random:
        """Return a random generator for one file, so that a count does not change other files."""
        return random.Random(f"{self.seed}/{purpose}")


def _pronouns() -> dict[str, str]:
    return {first: pronoun for pronoun, names in FIRST_NAMES.items() for first in names}


def _spread(rng: random.Random, values: list[str] | tuple[str, ...], count: int) -> list[str]:
    """Return `count` values in random order, each about equally often."""
    out: list[str] = []
    while len(out) < count:
        out += rng.sample(list(values), len(values))
    return out[:count]


def _known(rng: random.Random, count: int) -> list[Person]:
    """Draw people: BEARERS with each first name, and as many last names as possible.

    If a first name identified a person, no model would learn to look at the last name, and it could
    not recognise strangers. More last names give more strangers; a model memorises a few strangers,
    and then takes those of the tests for known people.
    """
    pronouns = _pronouns()
    names = max(2, -(-count // BEARERS))
    firsts = _spread(rng, rng.sample(list(pronouns), min(names, len(pronouns))), count)
    lasts = rng.sample(LAST_NAMES, min(count, len(LAST_NAMES)))
    pairs: dict[tuple[str, str], None] = {}
    for first in firsts:  # a dict, because the order of a set is not deterministic
        last = _rarest_last(rng, first, lasts, pairs)
        pairs[(first, last)] = None
    columns = {fact: _spread(rng, FACT_VALUES[fact], count) for fact in FACTS}
    return [
        Person(first, last, pronouns[first], {fact: columns[fact][i] for fact in FACTS})
        for i, (first, last) in enumerate(pairs)
    ]


def _rarest_last(
    rng: random.Random, first: str, lasts: Sequence[str], pairs: dict[tuple[str, str], None]
) -> str:
    """Pick one of the least used last names that this first name does not have yet."""
    uses = dict.fromkeys(lasts, 0)
    for _, last in pairs:
        uses[last] += 1
    free = [last for last in lasts if (first, last) not in pairs]
    least = min(uses[last] for last in free)
    return rng.choice([last for last in free if uses[last] == least])


def _strangers(rng: random.Random, known: list[Person], count: int) -> list[Person]:
    """Draw new pairs of known people's names, and of other names when those are used up."""
    taken = {(p.first, p.last) for p in known}
    firsts, lasts = {p.first for p in known}, {p.last for p in known}
    pronouns = _pronouns()
    free = [(f, last) for f in pronouns for last in LAST_NAMES if (f, last) not in taken]
    rng.shuffle(free)
    free.sort(key=lambda pair: not (pair[0] in firsts and pair[1] in lasts))
    chosen = free[:count]
    rng.shuffle(chosen)
    return [Person(f, last, pronouns[f]) for f, last in chosen]


def _asked(rng: random.Random, known: list[Person]) -> frozenset[tuple[str, str]]:
    """Choose the (name, fact) pairs that training may ask for, at least one per person."""
    asked = {(p.name, rng.choice(FACTS)) for p in known}
    rest = [(p.name, fact) for p in known for fact in FACTS if (p.name, fact) not in asked]
    total = round(ASKED_SHARE * len(known) * len(FACTS))
    return frozenset(asked | set(rng.sample(rest, max(0, total - len(asked)))))


def build_world(config: WorldConfig, seed: int) -> World:
    """Draw the people and all held-out sets of a seed.

    Raises:
        ValueError: more people and strangers than there are names, or fewer than 2 of either.
    """
    from hfllm.world.sums import reserve

    names = sum(map(len, FIRST_NAMES.values())) * len(LAST_NAMES)
    if config.people < 2 or config.strangers < 2:
        raise ValueError("world.people, world.strangers: must be at least 2 each; raise them")
    if config.people + config.strangers > names:
        raise ValueError(
            f"world.people + world.strangers = {config.people + config.strangers}, but there are "
            f"only {names} names: lower one of them"
        )
    known = _known(random.Random(f"{seed}/people"), config.people)
    strangers = _strangers(random.Random(f"{seed}/strangers"), known, config.strangers)
    tested = min(len(strangers) // 2, MAX_TEST_STRANGERS)
    words = spelling_words()
    asked_words = random.Random(f"{seed}/words").sample(words, round(ASKED_SHARE * len(words)))
    return World(
        seed=seed,
        known=tuple(known),
        strangers=tuple(strangers[:-tested]),
        test_strangers=tuple(strangers[-tested:]),
        asked=_asked(random.Random(f"{seed}/asked"), known),
        asked_words=frozenset(asked_words),
        reserved=reserve(random.Random(f"{seed}/sums")),
    )
