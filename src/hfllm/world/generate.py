"""Write the small world to a folder: people, documents, chats, pairs, prompts, tests.

JSONL, keys in a fixed order. The same seed and sizes give the same bytes, and a count changes its
own file only. Takes about two seconds at the default size; imports no library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfllm.world.chats import write_chats
from hfllm.world.documents import write_documents, write_heldout
from hfllm.world.pairs import write_pairs
from hfllm.world.people import World, build_world
from hfllm.world.prompts import TESTS, write_prompts, write_tests

if TYPE_CHECKING:
    from hfllm.world.config import WorldConfig


HELDOUT_DOCUMENTS_SHARE = 1 / 40


def _people_rows(world: World) -> list[dict[str, Any]]:
    groups = (
        ("known", world.known),
        ("stranger", world.strangers),
        ("test_stranger", world.test_strangers),
    )
    return [
        {"id": person.name, "group": group, "pronoun": person.pronoun, "facts": person.facts}
        | {"asked_in_chats": [f for f in person.facts if (person.name, f) in world.asked]}
        for group, people in groups
        for person in people
    ]


def _files(world: World, config: WorldConfig) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(name, rows) of every file."""
    tests = {task: write_tests(world, task, config.tests) for task in TESTS}
    yield "people.jsonl", _people_rows(world)
    documents = write_documents(world, config.documents, tests["known_facts"])
    yield "web.jsonl", documents
    taken = {row["truth"]["main_text"] or row["text"] for row in documents}
    count = max(5, round(config.documents * HELDOUT_DOCUMENTS_SHARE))
    yield "heldout_text.jsonl", write_heldout(world, count, taken)
    yield "chats_train.jsonl", write_chats(world, config.chats)
    yield "chats_heldout.jsonl", write_chats(world, config.tests, heldout=True)
    yield "pairs_train.jsonl", write_pairs(world, config.pairs)
    yield "pairs_heldout.jsonl", write_pairs(world, 2 * config.tests, heldout=True)
    yield "prompts_train.jsonl", write_prompts(world, config.prompts)
    for task, rows in tests.items():
        yield f"tests/{task}.jsonl", rows


def generate_world(config: WorldConfig, seed: int, out: Path) -> dict[str, int]:
    """Write all files of the small world.

    Args:
        config: sizes; its `seed`, if set, is used instead of `seed`.
        seed: decides everything that is random.
        out: folder for the files; it is created.

    Returns:
        number of rows per file, by its path under `out`.

    Raises:
        ValueError: more people and strangers than there are names, or fewer than two of either.
    """
    world = build_world(config, seed if config.seed is None else config.seed)
    counts = {}
    for name, rows in _files(world, config):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        counts[name] = len(rows)
    return counts
