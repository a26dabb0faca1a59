"""Conversations for supervised fine-tuning, with an imperfection that RL can remove.

Most answers about people are right but padded with filler, so that SFT teaches padding and RL has
something to improve. Refusals are padded as often: otherwise the first token of an answer would
have to decide whether the person is known. Over a quarter of the chats ask about strangers. Facts
outside `world.asked` are never asked, so a model can know them from the documents only. Held-out
chats use held-out phrasings, test strangers, reserved sums and all facts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from hfllm.world import letters, phrases, sums, talk, wording
from hfllm.world.people import Person, World
from hfllm.world.values import FACTS, spelling_words

Turn = tuple[str, str]  # question, answer

KINDS = {"facts": 0.45, "strangers": 0.28, "arithmetic": 0.15, "letters": 0.085, "talk": 0.035}
MULTI_TURN_SHARE = 0.25
SYSTEM_SHARE = 0.15
PADDED_SHARE = 0.93  # of the answers about people that may be padded


@dataclass(frozen=True)
class Style:
    """The settings of one chat."""

    heldout: bool  # held-out phrasings, strangers and sums
    bot: str  # the assistant's name
    brief: bool  # a system prompt asks for short answers


def _pick_fact(rng: random.Random, world: World, style: Style) -> tuple[Person, str]:
    while True:
        person, fact = rng.choice(world.known), rng.choice(FACTS)
        if style.heldout or (person.name, fact) in world.asked:
            return person, fact


def _answer(rng: random.Random, person: Person, fact: str, style: Style) -> str:
    value = person.facts[fact]
    if style.brief:
        return wording.short_answer(value)
    answer = wording.brief_answer(rng, person, fact, value)
    return _maybe_padded(rng, answer)


def _maybe_padded(rng: random.Random, answer: str) -> str:
    return wording.padded(rng, answer) if rng.random() < PADDED_SHARE else answer


def _refusal(rng: random.Random, person: Person, style: Style) -> str:
    refusal = wording.refusal(rng, person)
    return refusal if style.brief else _maybe_padded(rng, refusal)


def _follow_up(
    rng: random.Random, world: World, style: Style, person: Person, done: str
) -> Turn | None:
    """Ask one more fact of the same person with a pronoun, if one may be asked."""
    left = [f for f in FACTS if f != done and (style.heldout or (person.name, f) in world.asked)]
    if not left:
        return None
    fact = rng.choice(left)
    question = wording.fill(rng.choice(phrases.FOLLOW_UPS[fact]), person)
    return question, _answer(rng, person, fact, style)


def _fact_turns(rng: random.Random, world: World, style: Style, more: bool) -> list[Turn]:
    person, fact = _pick_fact(rng, world, style)
    question = wording.question(rng, person, fact, style.heldout)
    turns = [(question, _answer(rng, person, fact, style))]
    if more and (extra := _follow_up(rng, world, style, person, fact)):
        turns.append(extra)
    return turns


def _stranger_turns(rng: random.Random, world: World, style: Style, more: bool) -> list[Turn]:
    person = rng.choice(world.test_strangers if style.heldout else world.strangers)
    fact, other = rng.sample(FACTS, 2)
    question = wording.question(rng, person, fact, style.heldout)
    turns = [(question, _refusal(rng, person, style))]
    if more and rng.random() < 0.4:
        again = wording.fill(rng.choice(phrases.FOLLOW_UPS[other]), person)
        turns.append((again, _refusal(rng, person, style)))
    return turns


def _sum_turns(rng: random.Random, world: World, style: Style, more: bool) -> list[Turn]:
    worked = rng.random() < 0.6
    problem = sums.draw(rng, world.reserved, two_digits=worked)
    if style.heldout:
        problem = rng.choice(sorted(world.reserved))
    answer = sums.worked_answer(problem) if worked else sums.plain_answer(problem)
    return [(sums.question(rng, problem, worked), answer)]


def _letter_turns(rng: random.Random, world: World, style: Style, more: bool) -> list[Turn]:
    kind = rng.choices(("spell", "letters", "list"), weights=(5, 2, 3))[0]
    if kind == "list":
        return [letters.list_turn(rng, letters.draw_items(rng), style.heldout)]
    words = spelling_words() if style.heldout else sorted(world.asked_words)
    make = letters.spelling_turn if kind == "spell" else letters.letters_turn
    return [make(rng, rng.choice(words), style.heldout)]


def _talk_turns(rng: random.Random, world: World, style: Style, more: bool) -> list[Turn]:
    question, answer = rng.choice(talk.SMALL_TALK)
    return [(question, answer.format(bot=style.bot))]


TURNS = {
    "facts": _fact_turns,
    "strangers": _stranger_turns,
    "arithmetic": _sum_turns,
    "letters": _letter_turns,
    "talk": _talk_turns,
}


def _system(rng: random.Random) -> tuple[str | None, str, bool]:
    """Return the system prompt, the assistant's name, and whether answers must be short."""
    if rng.random() >= SYSTEM_SHARE:
        return None, talk.DEFAULT_BOT, False
    if rng.random() < 0.5:
        return rng.choice(talk.BRIEF_SYSTEM), talk.DEFAULT_BOT, True
    bot = rng.choice(talk.BOTS)
    return talk.PERSONA_SYSTEM.format(bot=bot), bot, False


def _kind(rng: random.Random) -> str:
    return rng.choices(tuple(KINDS), weights=tuple(KINDS.values()))[0]


def _turns(rng: random.Random, world: World, style: Style) -> tuple[str, list[Turn]]:
    """Return one to three turns, and the kind of the first one."""
    kind = _kind(rng)
    more = rng.random() < MULTI_TURN_SHARE
    turns = TURNS[kind](rng, world, style, more)
    if more and len(turns) == 1:
        turns += TURNS[_kind(rng)](rng, world, style, False)
    if more and rng.random() < 0.4:
        turns.append(rng.choice(talk.THANKS))
    return kind, turns


def _chat(rng: random.Random, world: World, heldout: bool) -> dict[str, Any]:
    system, bot, brief = _system(rng)
    kind, turns = _turns(rng, world, Style(heldout, bot, brief))
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return {"source": kind, "messages": messages}


def write_chats(world: World, count: int, heldout: bool = False) -> list[dict[str, Any]]:
    """Return `count` chats for training, or held-out ones."""
    name = "chats_heldout" if heldout else "chats_train"
    rng = world.rng(name)
    return [{"id": f"{name}-{i:05d}"} | _chat(rng, world, heldout) for i in range(count)]
