"""Instructions: add constraints that a program can check to real prompts, for RL and as a test.

Optionally the sources' own answers become demonstrations for SFT, where they keep the constraints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hfllm.instructions.config import InstructionsConfig
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import DATA, Stage
from hfllm.report.view.key_figures import rows_written
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest, write_lines

Row = dict[str, Any]


def check(spec: StepSpec) -> Iterator[str]:
    """Check the names of the constraint kinds."""
    from hfllm.instructions.kinds import KINDS

    known = ", ".join(KINDS)
    for kind in sorted(set(spec.config.kinds or ()) - set(KINDS)):
        yield f"kinds: '{kind}' is none of {known}"


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no prompts; for demonstrations they are chats."""
    from hfllm.data.reading.first_rows import first_rows as read

    kind = "chats" if step.spec.config.demonstrations else "prompts"
    yield from read(step, {"prompts": kind})[1]


STAGE = Stage(
    config=InstructionsConfig,
    makes=DATA,
    check=check,
    first_rows=first_rows,
    key_figure=rows_written,
)


def run(config: InstructionsConfig, step: Step, manifest: Manifest) -> None:
    """Write data/prompts_train.jsonl, tests.jsonl and, if asked for, chats_train.jsonl."""
    from hfllm.data.ledger import Ledger
    from hfllm.data.reading.account import account
    from hfllm.data.reading.examples import read_prompts
    from hfllm.instructions.build import REASONS, constrained, usable
    from hfllm.instructions.kinds import KINDS

    ledger = Ledger()
    rows = list(
        usable(read_prompts(config.prompts, step.data_of, ledger), config.max_words, ledger)
    )
    train, tests = constrained(rows, config.tests, list(config.kinds or KINDS), step.seed)
    ledger.check()
    account(ledger, config.prompts, chosen=REASONS)
    manifest.ledger = ledger.to_json()
    files = {"prompts_train": train, "tests": tests}
    if config.demonstrations:
        files["chats_train"] = _demonstrations(config, step, train, manifest)
    for name, found in files.items():
        write_lines(step.data / f"{name}.jsonl", found)
        manifest.metrics[f"rows/{name}.jsonl"] = len(found)
        print(f"  {name:<28} {len(found):>7,} rows")


def _demonstrations(
    config: InstructionsConfig, step: Step, train: list[Row], manifest: Manifest
) -> list[Row]:
    """Make the demonstrations; count each kind, and note what is missing, in the manifest."""
    from hfllm.instructions.demonstrations import demonstrations
    from hfllm.instructions.kinds import KINDS

    wanted, kinds = config.demonstrations or 0, list(config.kinds or KINDS)
    answered = _answered(config, step, train)
    chats, passed_over = demonstrations(answered, wanted, kinds, step.seed)
    shown = Counter(constraint["kind"] for row in chats for constraint in row["constraints"])
    manifest.metrics |= {f"shown/{kind}": shown[kind] for kind in kinds}
    manifest.metrics["passed_over/unanswered"] = len(train) - len(answered)
    manifest.metrics |= {f"passed_over/{reason}": n for reason, n in passed_over.items()}
    if len(chats) < wanted:
        manifest.notes.append(
            f"{len(chats):,} of {wanted:,} demonstrations: the answers that are left are too long, "
            "or keep no constraint"
        )
    if never := [kind for kind in kinds if not shown[kind]]:
        manifest.notes.append(f"no demonstration of {', '.join(never)}: no answer keeps it")
    for note in manifest.notes:
        print(f"  {note}")
    return chats


def _answered(config: InstructionsConfig, step: Step, train: list[Row]) -> list[Row]:
    """The training prompts that have a reply in the sources, with that reply."""
    from hfllm.data.reading.examples import read_chats

    replies = {
        messages[-2]["content"].strip(): messages[-1]["content"]
        for messages in (row["messages"] for row in read_chats(config.prompts, step.data_of))
        if len(messages) > 1
    }
    return [
        row | {"reply": replies[row["instruction"]]}
        for row in train
        if row["instruction"] in replies
    ]
