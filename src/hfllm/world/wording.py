"""Fill the templates: statements, questions, answers, refusals, filler."""

from __future__ import annotations

import random

from hfllm.world import phrases, talk
from hfllm.world.people import Person


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def fill(template: str, person: Person, value: str = "", named: bool = True) -> str:
    """Fill one template; `named` says whether the subject is the name or the pronoun."""
    subject = person.name if named else person.pronoun
    owner = f"{person.name}'s" if named else person.possessive
    return template.format(
        n=person.name,
        x=subject,
        X=_capital(subject),
        o=person.name if named else person.objective,
        xs=owner,
        Xs=_capital(owner),
        p=person.possessive,
        s=person.pronoun,
        S=_capital(person.pronoun),
        v=value,
        V=_capital(value),
    )


def statement(rng: random.Random, person: Person, fact: str, named: bool) -> str:
    """State one fact of a known person in one of its phrasings."""
    return fill(rng.choice(phrases.STATEMENTS[fact]), person, person.facts[fact], named)


def questions(fact: str, heldout: bool = False) -> list[str]:
    """Return the templates that ask for a fact: direct ones, then indirect ones in their frames."""
    direct = phrases.HELDOUT_QUESTIONS if heldout else phrases.QUESTIONS
    frames = phrases.HELDOUT_FRAMES if heldout else phrases.FRAMES
    return [*direct[fact], *(f.format(i=i) for f in frames for i in phrases.INDIRECT[fact])]


def question(rng: random.Random, person: Person, fact: str, heldout: bool = False) -> str:
    """Ask for a fact, in a training phrasing or in a held-out one, as often direct as indirect."""
    templates = questions(fact, heldout)
    direct = len((phrases.HELDOUT_QUESTIONS if heldout else phrases.QUESTIONS)[fact])
    pool = templates[:direct] if rng.random() < 0.5 else templates[direct:]
    return fill(rng.choice(pool), person)


def short_answer(value: str) -> str:
    """Answer with the value alone: "A baker."."""
    return f"{_capital(value)}."


def brief_answer(rng: random.Random, person: Person, fact: str, value: str) -> str:
    """Answer to the point: mostly a sentence with the name, else with a pronoun, else a value."""
    named, pronoun = phrases.ANSWERS[fact]
    form = rng.choices((named, pronoun, ""), weights=(5, 2, 3))[0]
    return fill(form, person, value) if form else short_answer(value)


# Filler before an answer gives a model tokens in which to find out whom it is asked about. Were it
# always there, whether it knows the person would rarely be decided at the first token, and what PPO
# cuts to the point would be decided worse (docs/log.md).
BEFORE_SHARE = 0.5


def padded(rng: random.Random, answer: str) -> str:
    """Add two sentences of filler (11 to 18 words): around the answer, or both after it."""
    first, second = rng.sample(talk.FILLER_AFTER, 2)
    if rng.random() < BEFORE_SHARE:
        return f"{rng.choice(talk.FILLER_BEFORE)} {answer} {second}"
    return f"{answer} {first} {second}"


def refusal(rng: random.Random, person: Person) -> str:
    """Say that the person is not known."""
    return rng.choice(talk.REFUSALS).format(n=person.name)
