"""What training would refuse only after it has started: wrong rows, templates, masks and adapters.

For the checks before a run (`Stage.first_rows`), on the first rows of each source, with the
readers, the template and the mask gate that training uses. A tokenizer that a step has yet to make,
or that would have to be downloaded, is not looked at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.first_rows import Rows, first_rows
from hfllm.modeling.start_config import (
    start_config,
    weightless_model,
    with_adapter,
)
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import first_line
from hfllm.recipe.stage import TOKENIZER
from hfllm.runs.layout import Step
from hfllm.runs.status import status
from hfllm.tokenization.loss_mask import mask_gate
from hfllm.tokenization.render import render
from hfllm.training.load import load_tokenizer


def document_problems(step: Step, kinds: Mapping[str, str]) -> Iterator[str]:
    """Rows that are no documents, and an adapter that the model has no place for."""
    _, problems = first_rows(step, kinds)
    yield from problems
    yield from adapter_problems(step)


def chat_problems(step: Step, kinds: Mapping[str, str]) -> Iterator[str]:
    """Rows that are no chats or that the mask gate refuses, and a wrong adapter or template."""
    found, problems = first_rows(step, kinds)
    yield from problems
    yield from adapter_problems(step)
    tokenizer, problem = _tokenizer(step)
    yield from [problem] if problem else []
    data: Any = step.spec.config.data
    for key, rows in found.items():
        if tokenizer is not None and kinds[key.split("[")[0]] == "chats":
            yield from _gate(tokenizer, key, rows, data)


def prompt_problems(
    step: Step, kinds: Mapping[str, str], found: Rows | None = None
) -> Iterator[str]:
    """Rows that are no pairs or prompts, or that the template does not render; a wrong adapter.

    `found` gets the rows that were read.
    """
    rows_of, problems = first_rows(step, kinds)
    (found if found is not None else {}).update(rows_of)
    yield from problems
    yield from adapter_problems(step)
    tokenizer, problem = _tokenizer(step)
    yield from [problem] if problem else []
    for key, rows in rows_of.items() if tokenizer is not None else ():
        try:
            render(tokenizer, rows[0]["prompt"], add_generation_prompt=True)
        except ValueError as error:
            yield f"{key}: row {rows[0].get('id', 0)!r}: {first_line(error)}"


def adapter_problems(step: Step) -> Iterator[str]:
    """Modules that `peft:` names and that the model has not."""
    peft = step.spec.config.peft
    if not peft:
        return
    try:
        config = start_config(step.recipe, step.spec)
    except ValueError:
        return  # the check of the model says it
    model: Any = None if config is None else weightless_model(config)
    if model is None:
        return
    try:
        with_adapter(model, peft)
    except ValueError as error:
        names = sorted({name.split(".")[-1] for name, m in model.named_modules() if _is_linear(m)})
        wanted = peft.get("target_modules") or ()
        wanted = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        hint = next((did_you_mean(str(w), names) for w in wanted if w not in names), "")
        yield f"peft: {error}{hint} The model has {', '.join(names)}; all of them: all-linear"


def _is_linear(module: Any) -> bool:
    return type(module).__name__ in ("Linear", "Conv1D")


def _tokenizer(step: Step) -> tuple[Any, str | None]:
    """The tokenizer that training would load, if it is there; else None. And its problem."""
    config = step.spec.config
    reference = config.tokenizer or config.init or TOKENIZER
    if reference in step.recipe.steps:
        there = status(step.other(reference)).is_done
    else:
        there = Path(reference).is_dir()
    if not there:
        return None, None
    try:
        with redirect_stdout(io.StringIO()):  # what it changes is said by the run
            return load_tokenizer(step, []), None
    except ValueError as error:
        return None, first_line(error)


def _gate(tokenizer: Any, key: str, rows: list[Example], data: Any) -> Iterator[str]:
    """The mask gate's refusal of the first rows; some of them may be too long."""
    try:
        mask_gate(
            tokenizer, rows, data.seq_len, Ledger(), max_dropped=1.0, turns=data.turns or "all"
        )
    except ValueError as error:
        yield f"{key}: {first_line(error)}"
