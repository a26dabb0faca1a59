"""Instructions: real prompts with constraints that a program can check, for RL and as a test."""

from __future__ import annotations

from typing import Any

from hfllm.data.ledger import Ledger
from hfllm.data.reading import read_chats, read_prompts
from hfllm.instructions.build import constrained, usable
from hfllm.instructions.constraints import KINDS
from hfllm.instructions.demonstrations import demonstrations
from hfllm.recipe.data_schema import InstructionsConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import write_lines
from hfllm.runs.record import recording

Row = dict[str, Any]


def run(config: InstructionsConfig, step: Step) -> None:
    """data/prompts_train.jsonl, data/tests.jsonl and, if asked for, data/chats_train.jsonl."""
    with recording(step) as manifest:
        ledger = Ledger()
        rows = list(
            usable(read_prompts(config.prompts, step.data_of, ledger), config.max_words, ledger)
        )
        kinds = list(config.kinds or KINDS)
        train, tests = constrained(rows, config.tests, kinds, step.seed)
        ledger.check()
        manifest.ledger = ledger.to_json()
        files = {"prompts_train": train, "tests": tests}
        if config.demonstrations:
            chats = demonstrations(
                _answered(config, step, train), config.demonstrations, kinds, step.seed
            )
            files["chats_train"] = chats
            if len(chats) < config.demonstrations:
                manifest.notes.append(
                    f"{len(chats):,} of {config.demonstrations:,} demonstrations: the answers that "
                    "are left are too long, or keep no constraint"
                )
        for name, found in files.items():
            write_lines(step.data / f"{name}.jsonl", found)
            manifest.metrics[f"rows/{name}.jsonl"] = len(found)
            print(f"  {name:<28} {len(found):>7,} rows")


def _answered(config: InstructionsConfig, step: Step, train: list[Row]) -> list[Row]:
    """Those training prompts to which the sources have a reply, with it."""
    replies = {
        (row["source"], row["id"]): row["messages"][-1]["content"]
        for row in read_chats(config.prompts, step.data_of)
    }
    keyed = [((row["source"], row["id"]), row) for row in train]
    return [row | {"reply": replies[key]} for key, row in keyed if key in replies]
