"""Spelling words and counting letters or items: questions and answers.

A counting answer numbers each item first ("b-1, a-2, ..."), so that a small model can count one
token at a time. Tests use other phrasings (HELDOUT_*) than training.
"""

from __future__ import annotations

import random

from hfllm.world.values import FACT_VALUES, bare, spelling_words

SPELL_QUESTIONS = (
    "How do you spell {w}?",
    "Spell the word {w}.",
    "How is {w} spelled?",
    "Please spell {w}.",
    "Can you spell the word {w}?",
    "Write {w} letter by letter.",
)
HELDOUT_SPELL = (
    "Could you spell {w} for me?",
    "Please write the word {w} letter by letter.",
    "Tell me how {w} is spelled.",
)
LETTER_QUESTIONS = (
    "How many letters are in {w}?",
    "Count the letters in {w}.",
    "How many letters does {w} have?",
    "Please count the letters of {w}.",
)
HELDOUT_LETTERS = ("Could you count the letters in {w}?", "Tell me how many letters {w} has.")
LIST_QUESTIONS = (
    "How many things are in the list {w}?",
    "Count the things in this list: {w}.",
    "How many words are there: {w}?",
    "Please count these words: {w}.",
)
HELDOUT_LISTS = ("Could you count the words {w}?", "Here is a list: {w}. How many words are there?")

MIN_ITEMS, MAX_ITEMS = 2, 5


def spelled(word: str) -> str:
    """Return "b-a-k-e-r" for "baker"."""
    return "-".join(word)


def counted(items: list[str] | str) -> str:
    """Number the items (or the letters of a word), then say how many there are."""
    numbered = ", ".join(f"{item}-{i}" for i, item in enumerate(items, start=1))
    return f"{numbered}. The answer is {len(items)}."


def draw_items(rng: random.Random) -> list[str]:
    """Draw the items of a list to count."""
    pool = [bare(v) for v in FACT_VALUES["pet"]] if rng.random() < 0.5 else spelling_words()
    return rng.sample(pool, rng.randint(MIN_ITEMS, MAX_ITEMS))


def spelling_turn(rng: random.Random, word: str, heldout: bool = False) -> tuple[str, str]:
    """Return a spelling question and its answer."""
    return rng.choice(HELDOUT_SPELL if heldout else SPELL_QUESTIONS).format(w=word), spelled(word)


def letters_turn(rng: random.Random, word: str, heldout: bool = False) -> tuple[str, str]:
    """Return a question about the letters of a word, and the counted answer."""
    pool = HELDOUT_LETTERS if heldout else LETTER_QUESTIONS
    return rng.choice(pool).format(w=word), counted(word)


def list_turn(rng: random.Random, items: list[str], heldout: bool = False) -> tuple[str, str]:
    """Return a question about the length of a list, and the counted answer."""
    pool = HELDOUT_LISTS if heldout else LIST_QUESTIONS
    return rng.choice(pool).format(w=", ".join(items)), counted(items)
