"""The "ifeval" task: IFEval's prompts with its own checkers, as lm-eval carries them.

Rows are {"key", "prompt", "instruction_id_list", "kwargs"} (Zhou et al. 2023, arXiv:2311.07911).
`accuracy` and `accuracy_loose` count prompts of which every instruction is kept,
`instruction_accuracy` and `instruction_accuracy_loose` single instructions: the four of the paper.
Two kinds of instruction count sentences or words with NLTK's `punkt_tab`, which is fetched apart;
where it is missing, the prompts that hold one are left out, and that is said.
"""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from typing import Any

from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import (
    ACCURACY_LOOSE,
    INSTRUCTION_ACCURACY,
    INSTRUCTION_ACCURACY_LOOSE,
)
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks import replies
from hfllm.evaluation.tasks.answers import Sample
from hfllm.recipe.errors import first_line

NEEDS_PUNKT = ("length_constraints:number_sentences", "change_case:capital_word_frequency")


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt greedily and check it.

    Raises:
        ValueError: the checkers are not installed, a row lacks a column, or none is left.
    """
    checkers()
    rows = [_with_arguments(row, task) for row in spec.taken()]
    kept = [row for row in rows if has_punkt() or not _needs_punkt(row)]
    if lost := len(rows) - len(kept):
        print(
            f"{tested.spec.name}: {task}: {lost} of {len(rows)} prompts left out: they need "
            "NLTK's data (python -m nltk.downloader punkt_tab)",
            flush=True,
        )
    if not kept:
        raise ValueError(
            f"task {task!r}: no prompt is left that can be checked without NLTK's data"
        )
    samples = replies.ask(tested, task, TaskSpec(spec.kind, kept, None, spec.max_new_tokens))
    for sample in samples:
        sample.row["followed"] = follows(sample, loosely=False)  # in a copy of the file's row
    replies.mark(samples, lambda sample: all(sample.row["followed"]))
    return samples


def summarize(samples: list[Sample]) -> list[Result]:
    """Prompts and instructions, strict and loose, and what is measured of every reply."""
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
    """Which of the row's instructions the answer keeps."""
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
    return list(check(asked, sample.output).follow_instruction_list)


@cache
def checkers() -> Any:
    """lm-eval's checkers; ValueError with the command where they are not installed."""
    try:
        # it tries to fetch punkt_tab on import and says so where it cannot
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            import langdetect
            from lm_eval.tasks.ifeval import utils
    except (ImportError, AssertionError) as error:  # it asserts the version of NLTK
        raise ValueError(
            f"IFEval's checkers cannot be loaded ({first_line(error)}): "
            "pip install -c constraints.txt -e '.[evaluation]'"
        ) from None
    langdetect.DetectorFactory.seed = 0  # else it draws, and a score is another one each time
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


def _needs_punkt(row: dict[str, Any]) -> bool:
    return any(name in NEEDS_PUNKT for name in row["instruction_id_list"])


def _with_arguments(row: dict[str, Any], task: str) -> dict[str, Any]:
    """The row with `arguments`, a mapping for each instruction (`kwargs` may be JSON text)."""
    if not row.get("instruction_id_list") or "kwargs" not in row or "prompt" not in row:
        raise ValueError(
            f"row {row.get('id', '?')} of {task}: an `ifeval` row has key, prompt, "
            f"instruction_id_list and kwargs; this one has {', '.join(row)}"
        )
    given = row["kwargs"]
    given = json.loads(given) if isinstance(given, str) else given
    names = row["instruction_id_list"]
    if not isinstance(given, list) or [type(one) for one in given] != [dict] * len(names):
        raise ValueError(
            f"row {row.get('id', '?')} of {task}: `kwargs` is a list with a mapping for each of "
            f"{len(names)} instructions, found {given!r:.80}"
        )
    known = checkers().instructions_registry.INSTRUCTION_DICT
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"row {row.get('id', '?')} of {task}: lm-eval has no checker for {unknown[0]!r}"
        )
    return row | {"arguments": given, "key": row.get("key", row.get("id"))}
