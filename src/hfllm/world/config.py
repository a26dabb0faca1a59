"""The keys of the `world` stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WorldConfig:
    """Sizes of the small world; a count changes the number of rows and nothing else."""

    seed: int | None = None  # default: the recipe's seed
    people: int = 48  # people who appear in documents
    strangers: int = 900  # people in no document (hallucination tests); at most 200 are held out
    documents: int = 6000  # web pages about the people, and the mess around them
    chats: int = 9000  # conversations for SFT
    pairs: int = 15000  # preference pairs for the reward model
    prompts: int = 3000  # prompts for PPO
    tests: int = 200  # rows per held-out test
