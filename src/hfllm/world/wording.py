"""Fill the templates of phrases.py and talk.py: statements, questions, answers, refusals."""

from __future__ import annotations

import random

from hfllm.world import phrases, talk
from hfllm.world.people import Person


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def fill(template: str, person: Person, value: str = "", named: bool = True) -> str:
    """Fill the slots of a template (phrases.py).

    Args:
        template: text with slots.
        person: whose name and pronouns are filled in.
        value: fills {v} and {V}.
        named: the subject is the name, otherwise the pronoun.
    """
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
    """Return one fact of a known person in a random phrasing; `named`: with the full name."""
    return fill(rng.choice(phrases.STATEMENTS[fact]), person, person.facts[fact], named)


def questions(fact: str, heldout: bool = False) -> list[str]:
    """Return the question templates of a fact: direct ones, then indirect ones in their frames."""
    direct = phrases.HELDOUT_QUESTIONS if heldout else phrases.QUESTIONS
    frames = phrases.HELDOUT_FRAMES if heldout else phrases.FRAMES
    return [*direct[fact], *(f.format(i=i) for f in frames for i in phrases.INDIRECT[fact])]


def question(rng: random.Random, person: Person, fact: str, heldout: bool = False) -> str:
    """Return a question about a fact, direct or indirect equally often.

    `heldout`: in a phrasing that training does not use.
    """
    templates = questions(fact, heldout)
    direct = len((phrases.HELDOUT_QUESTIONS if heldout else phrases.QUESTIONS)[fact])
    pool = templates[:direct] if rng.random() < 0.5 else templates[direct:]
    return fill(rng.choice(pool), person)


def short_answer(value: str) -> str:
    """Return the value alone as an answer: "A baker."."""
    return f"{_capital(value)}."


def brief_answer(rng: random.Random, person: Person, fact: str, value: str) -> str:
    """Return an answer without filler: a sentence with the name (5 in 10), with a pronoun (2), or
    the value alone (3).
    """
    named, pronoun = phrases.ANSWERS[fact]
    form = rng.choices((named, pronoun, ""), weights=(5, 2, 3))[0]
    return fill(form, person, value) if form else short_answer(value)


# Filler before an answer gives a model tokens in which to recall the person. If it were always
# there, the model would rarely learn to decide at the first token whether it knows the person, and
# would refuse less reliably once PPO has removed the filler (docs/log.md).
BEFORE_SHARE = 0.5


def padded(rng: random.Random, answer: str) -> str:
    """Add two sentences of filler (11 to 18 words), around the answer or after it."""
    first, second = rng.sample(talk.FILLER_AFTER, 2)
    if rng.random() < BEFORE_SHARE:
        return f"{rng.choice(talk.FILLER_BEFORE)} {answer} {second}"
    return f"{answer} {first} {second}"


def refusal(rng: random.Random, person: Person) -> str:
    """Return a sentence that says that the person is not known."""
    return rng.choice(talk.REFUSALS).format(n=person.name)
