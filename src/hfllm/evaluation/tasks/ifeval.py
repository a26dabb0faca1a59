"""The "ifeval" task: IFEval prompts, graded by the checkers that lm-eval ships.

Rows are {"key", "prompt", "instruction_id_list", "kwargs"} (Zhou et al. 2023, arXiv:2311.07911).
The four metrics of the paper: `accuracy` and `accuracy_loose` over prompts (every instruction is
followed), `instruction_accuracy` and `instruction_accuracy_loose` over single instructions. Two
kinds of instructions need NLTK's `punkt_tab`, a separate download; without it the prompts with such
an instruction are left out, and a line on the console gives their number.
"""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from typing import Any

from hfllm.evaluation.accepted import place
from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import (
    ACCURACY_LOOSE,
    INSTRUCTION_ACCURACY,
    INSTRUCTION_ACCURACY_LOOSE,
)
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, result
from hfllm.evaluation.tasks import replies
from hfllm.recipe.errors import first_line

NEEDS_PUNKT = ("length_constraints:number_sentences", "change_case:capital_word_frequency")


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt and grade the answers strictly.

    Args:
        tested: the model.
        task: name of the task.
        spec: IFEval rows.

    Returns:
        samples of the prompts that can be checked, in the order of the rows.

    Raises:
        ValueError: the checkers are not installed, a row lacks a column, or no prompt is left.
    """
    checkers()
    rows = [_with_arguments(row, task) for row in spec.taken()]
    kept = [row for row in rows if has_punkt() or not _needs_punkt(row)]
    if lost := len(rows) - len(kept):
        print(
            f"{tested.spec.name}: {task}: {lost} of {len(rows)} prompts left out: they need "
            "NLTK's data; run: python -m nltk.downloader punkt_tab",
            flush=True,
        )
    if 2 * lost > len(rows):
        raise ValueError(
            f"task {task!r}: {lost:,} of {len(rows):,} prompts, more than half, cannot be checked "
            "without NLTK's data; run: python -m nltk.downloader punkt_tab"
        )
    samples = replies.ask(tested, task, TaskSpec(spec.kind, kept, None, spec.max_new_tokens))
    for sample in samples:
        sample.row["followed"] = follows(sample, loosely=False)  # the row is a copy of the file's
    replies.grade(samples, lambda sample: all(sample.row["followed"]))
    return samples


def summarize(samples: list[Sample]) -> list[Result]:
    """Strict and loose results of prompts and of instructions, and those of every reply."""
    strict = [sample.row["followed"] for sample in samples]
    loose = [follows(sample, loosely=True) for sample in samples]
    flags = {
        ACCURACY_LOOSE: [all(one) for one in loose],
        INSTRUCTION_ACCURACY: [flag for one in strict for flag in one],
        INSTRUCTION_ACCURACY_LOOSE: [flag for one in loose for flag in one],
    }
    model, task = samples[0].model, samples[0].task
    return [
        *replies.summarize(samples),
        *(result(model, task, measure, share(found)) for measure, found in flags.items()),
    ]


def follows(sample: Sample, loosely: bool) -> list[bool]:
    """Whether the answer follows each of the row's instructions."""
    utils, row = checkers(), sample.row
    asked = utils.InputExample(
        key=row["key"],
        instruction_id_list=row["instruction_id_list"],
        prompt=row["prompt"],
        kwargs=row["arguments"],
    )
    check = (
        utils.test_instruction_following_loose
        if loosely
        else utils.test_instruction_following_strict
    )
    try:
        return list(check(asked, sample.output).follow_instruction_list)
    except Exception as error:  # whatever a checker raises on arguments that it was not made for
        names = ", ".join(row["instruction_id_list"])
        raise ValueError(
            f"{place(row)} of {sample.task}: lm-eval cannot check {names} with the row's `kwargs`: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from None


@cache
def checkers() -> Any:
    """lm-eval's checkers; ValueError with the command to install them."""
    try:
        # on import it tries to download punkt_tab, and prints if it cannot
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            import langdetect
            from lm_eval.tasks.ifeval import utils
    except (ImportError, AssertionError) as error:  # the import asserts NLTK's version
        raise ValueError(
            f"IFEval's checkers cannot be loaded ({first_line(error)}): "
            "pip install -c constraints.txt -e '.[evaluation]'"
        ) from None
    langdetect.DetectorFactory.seed = 0  # its detection is random without a seed
    return utils


@cache
def has_punkt() -> bool:
    """Whether NLTK's sentence splitter is on this machine."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def _needs_punkt(row: TestRow) -> bool:
    return any(name in NEEDS_PUNKT for name in row["instruction_id_list"])


def _with_arguments(row: TestRow, task: str) -> TestRow:
    """The row with `arguments`: `kwargs` (JSON text or not) as one mapping per instruction."""
    if not row.get("instruction_id_list") or "kwargs" not in row or "prompt" not in row:
        raise ValueError(
            f"{place(row)} of {task}: an `ifeval` row has key, prompt, "
            f"instruction_id_list and kwargs; this one has {', '.join(row)}"
        )
    names, given = row["instruction_id_list"], arguments_of(row, task)
    known = checkers().instructions_registry.INSTRUCTION_DICT
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"{place(row)} of {task}: lm-eval has no checker for {unknown[0]!r}; remove the row"
        )
    return row | {"arguments": given, "key": row.get("key", row.get("id"))}


def arguments_of(row: TestRow, task: str) -> list[dict[str, Any]]:
    """`kwargs` as one mapping for each instruction; 3.0, as tables with nulls have it, is 3.

    Raises:
        ValueError: they are no list of mappings, or not as many as the instructions.
    """
    names, given = row["instruction_id_list"], row["kwargs"]
    try:
        given = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        given = row["kwargs"]
    if isinstance(given, list):
        given = [{} if one is None else one for one in given]
    if not isinstance(given, list) or [type(one) for one in given] != [dict] * len(names):
        raise ValueError(
            f"{place(row)} of {task}: `kwargs` is a list with a mapping for each of {len(names)} "
            f"instructions, found {given!r:.80}"
        )
    return [
        {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in one.items()}
        for one in given
    ]
