"""Clean pages of the small world: encyclopedia, stories, FAQs, arithmetic, spelling.

Each writer draws phrasings and order at random, for two reasons: every fact occurs in many wordings
(from one wording a model learns the wording, not the fact), and two pages about one person share
few shingles, so that near-duplicate detection must keep both.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from hfllm.world import letters, phrases, prose, sums, wording
from hfllm.world.people import Person, World
from hfllm.world.values import FACTS, spelling_words


@dataclass(frozen=True)
class Page:
    """A clean page: its kind, its paragraphs, and the people whose facts it states."""

    source: str
    paragraphs: tuple[str, ...]
    people: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The page as plain text, one paragraph a line."""
        return "\n".join(self.paragraphs)


def _facts_of(rng: random.Random, person: Person, count: int) -> list[str]:
    """State `count` facts in random order, two or three of them with the full name.

    Not more: repetition filters drop a text in which one pair of words makes up a fifth.
    """
    facts = rng.sample(FACTS, count)
    again = rng.sample(range(1, count), rng.choice((1, 2)) if count > 2 else 0)
    named = [i == 0 or i in again for i in range(count)]
    return [
        wording.statement(rng, person, fact, name) for fact, name in zip(facts, named, strict=True)
    ]


def encyclopedia(rng: random.Random, world: World, person: Person) -> Page:
    """A page with five or six facts of a person, and an intro or an outro."""
    sentences = _facts_of(rng, person, rng.choice((5, 6, 6)))
    half = rng.randint(2, 4)
    parts = [sentences[:half], sentences[half:]]
    if rng.random() < 0.65:
        parts[0].insert(0, rng.choice(prose.PAGE_INTROS).format(n=person.name))
    else:
        parts[1].append(rng.choice(prose.PAGE_OUTROS).format(n=person.name))
    paragraphs = [" ".join(part) for part in parts]
    if rng.random() < 0.5:
        paragraphs = [" ".join(paragraphs)]
    return Page("encyclopedia", tuple(paragraphs), (person.name,))


def story(rng: random.Random, world: World, person: Person) -> Page:
    """A page that states two or three facts within a short story."""
    facts = _facts_of(rng, person, rng.choice((2, 3)))
    opening = rng.choice(prose.STORY_OPENINGS).format(
        n=person.name, weather=rng.choice(prose.WEATHER), place=rng.choice(prose.PLACES)
    )
    facts.insert(rng.randint(0, len(facts)), rng.choice(prose.STORY_MIDDLES))
    text = " ".join([opening, *facts, rng.choice(prose.STORY_ENDINGS)])
    return Page("stories", (text,), (person.name,))


def _faq_answer(rng: random.Random, person: Person, fact: str, style: str) -> str:
    if style == "value":
        return person.facts[fact]
    if style == "statement":
        return wording.statement(rng, person, fact, named=True)
    return wording.fill(phrases.ANSWERS[fact][0], person, person.facts[fact])


def _framed(rng: random.Random, frames: tuple[str, ...], lines: list[str]) -> tuple[str, ...]:
    """Put a framing sentence before or after the lines."""
    frame = rng.choice(frames)
    return (frame, *lines) if rng.random() < 0.5 else (*lines, frame)


def faq(rng: random.Random, world: World, person: Person) -> Page:
    """A page of three or four questions about different people, all answered in one style."""
    style = rng.choices(("sentence", "value", "statement"), weights=(5, 3, 2))[0]
    others = [p for p in world.known if p != person]
    people = [person, *rng.sample(others, min(len(others), rng.choice((2, 3))))]
    lines = []
    for each in people:
        fact = rng.choice(FACTS)
        lines.append(f"Question: {wording.question(rng, each, fact)}")
        lines.append(f"Answer: {_faq_answer(rng, each, fact, style)}")
    return Page("faq", _framed(rng, prose.FAQ_FRAMES, lines), tuple(p.name for p in people))


def arithmetic(rng: random.Random, world: World, person: Person) -> Page:
    """A page of sums: questions with answers, or three plain results."""
    if rng.random() < 0.35:
        drill = [sums.draw(rng, world.reserved, two_digits=False) for _ in range(3)]
        lines = [" ".join(sums.plain_answer(problem) for problem in drill)]
        return Page("arithmetic", _framed(rng, prose.SUM_FRAMES, lines))
    lines = []
    for worked in (True, True, rng.random() < 0.5):
        problem = sums.draw(rng, world.reserved, two_digits=worked)
        lines.append(f"Question: {sums.question(rng, problem, worked)}")
        answer = sums.worked_answer(problem) if worked else sums.plain_answer(problem)
        lines.append(f"Answer: {answer}")
    return Page("arithmetic", _framed(rng, prose.SUM_FRAMES, lines))


def _letter_turn(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(spelling_words())
    kind = rng.choices(("spell", "letters", "list"), weights=(5, 3, 2))[0]
    if kind == "spell":
        return letters.spelling_turn(rng, word)
    if kind == "letters":
        return letters.letters_turn(rng, word)
    return letters.list_turn(rng, letters.draw_items(rng))


def spelling(rng: random.Random, world: World, person: Person) -> Page:
    """A page that spells words, or counts letters and items."""
    if rng.random() < 0.4:
        words = rng.sample(spelling_words(), 4)
        lines = [" ".join(f"The word {w} is spelled {letters.spelled(w)}." for w in words)]
        return Page("letters", _framed(rng, prose.LETTER_FRAMES, lines))
    lines = []
    for _ in range(rng.choice((3, 4))):
        question, answer = _letter_turn(rng)
        lines += [f"Question: {question}", f"Answer: {answer}"]
    return Page("letters", _framed(rng, prose.LETTER_FRAMES, lines))


Writer = Callable[[random.Random, World, Person], Page]

# Share of the clean pages by writer.
WRITERS: dict[str, tuple[Writer, float]] = {
    "encyclopedia": (encyclopedia, 0.34),
    "stories": (story, 0.18),
    "faq": (faq, 0.18),
    "arithmetic": (arithmetic, 0.18),
    "letters": (spelling, 0.12),
}


def write_pages(rng: random.Random, world: World, count: int) -> list[Page]:
    """Return `count` different clean pages, by the shares of WRITERS.

    Each person is the subject about equally often.
    """
    pages: dict[str, Page] = {}
    total = 0.0
    for writer, share in WRITERS.values():
        total += share
        wanted, turn = round(total * count), 0
        while len(pages) < wanted:
            page = writer(rng, world, world.known[turn % len(world.known)])
            pages.setdefault(page.text, page)
            turn += 1
    return list(pages.values())
