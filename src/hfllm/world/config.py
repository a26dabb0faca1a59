"""The keys of the `world` stage."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.recipe.ranges import AT_LEAST_1, NOT_NEGATIVE, SEED, Range, within

TWO = Range(2)


@dataclass
class WorldConfig:
    """Sizes of the small world; a count changes the number of rows and nothing else."""

    seed: int | None = within(SEED, None)  # default: the recipe's seed
    people: int = within(TWO, 48)  # people who appear in documents
    # people in no document (hallucination tests); at most 200 are held out
    strangers: int = within(TWO, 900)
    # web pages about the people, and the mess around them
    documents: int = within(AT_LEAST_1, 6000)
    chats: int = within(NOT_NEGATIVE, 9000)  # conversations for SFT
    pairs: int = within(NOT_NEGATIVE, 15000)  # preference pairs for the reward model
    prompts: int = within(NOT_NEGATIVE, 3000)  # prompts for PPO
    tests: int = within(AT_LEAST_1, 200)  # rows per held-out test
