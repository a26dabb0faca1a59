"""The keys of a `world` step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WorldConfig:
    """Size of the small world; every count scales what is written, nothing else."""

    seed: int | None = None  # default: the recipe's seed
    people: int = 48  # people who appear in documents
    strangers: int = 900  # people in no document (hallucination); up to 200 of them for tests
    documents: int = 6000
    chats: int = 9000
    pairs: int = 15000
    prompts: int = 3000
    tests: int = 200  # rows per held-out test
