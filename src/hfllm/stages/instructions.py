"""Instructions: real prompts with constraints that a program can check, for RL and as a test."""

from __future__ import annotations

from hfllm.data.ledger import Ledger
from hfllm.data.reading import read_prompts
from hfllm.instructions.build import constrained, usable
from hfllm.instructions.constraints import KINDS
from hfllm.recipe.data_schema import InstructionsConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import write_lines
from hfllm.runs.record import recording


def run(config: InstructionsConfig, step: Step) -> None:
    """data/prompts_train.jsonl and data/tests.jsonl."""
    with recording(step) as manifest:
        ledger = Ledger()
        rows = list(
            usable(read_prompts(config.prompts, step.data_of, ledger), config.max_words, ledger)
        )
        train, tests = constrained(rows, config.tests, list(config.kinds or KINDS), step.seed)
        ledger.check()
        manifest.ledger = ledger.to_json()
        for name, found in (("prompts_train", train), ("tests", tests)):
            write_lines(step.data / f"{name}.jsonl", found)
            manifest.metrics[f"rows/{name}.jsonl"] = len(found)
            print(f"  {name:<28} {len(found):>7,} rows")
