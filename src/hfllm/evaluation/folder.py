"""Evaluate one model folder on a file of test rows and a file of text (`hfllm eval MODEL`)."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hfllm.data.sources import read_rows
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import ModelSpec, Result, TaskSpec
from hfllm.inference.load import find_model, is_chat_model
from hfllm.recipe.schema import SourceConfig


def evaluate_folder(
    model: str | Path,
    tests: Path | None = None,
    text: Path | None = None,
    *,
    base: bool | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> list[Result]:
    """Results of one model; the rows' columns say the kind of test, their `task` its name.

    Args:
        model: folder (or run step) of a language model.
        tests: rows of answers or choices tasks, any format that `data.sources` reads.
        text: documents for bits per byte.
        base: True asks with plain text; None: as the folder's manifest and template say.
        limit: rows per task.
        out: where results.json and samples.jsonl go; None writes nothing that stays.

    Raises:
        ValueError: no file was given, a row fits no kind, or the folder is no model (one line).
    """
    if tests is None and text is None:
        raise ValueError("nothing to evaluate on: give --tests FILE.jsonl, --text FILE or both")
    folder = Path(find_model(model))
    tasks = read_tasks(tests, limit) if tests else {}
    if text:
        tasks[text.name.split(".")[0]] = TaskSpec("bits_per_byte", read_file(text), limit)
    chat = is_chat_model(folder) if base is None else not base
    name = Path(model).parent.name if Path(model).name == "model" else Path(model).name
    with tempfile.TemporaryDirectory() as scratch:
        return evaluate_models([ModelSpec(name, folder, chat)], tasks, out or Path(scratch))


def read_tasks(path: Path, limit: int | None = None) -> dict[str, TaskSpec]:
    """Tasks of a file: rows grouped by their `task` (default: the file's name)."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_file(path):
        groups[str(row.get("task") or path.name.split(".")[0])].append(row)
    if not groups:
        raise ValueError(f"{path} holds no rows")
    return {name: TaskSpec(kind_of(rows[0], path), rows, limit) for name, rows in groups.items()}


def kind_of(row: dict[str, Any], path: Path) -> str:
    """The kind of test that a row's columns make."""
    if "sentence_good" in row or "gold" in row:
        return "choices"
    if "answer" in row and ("prompt" in row or "plain" in row):
        return "answers"
    raise ValueError(
        f"{path}: a test row has `prompt` (or `plain`) and `answer`, or `query`, `choices` and "
        f"`gold`; this one has {', '.join(row)}"
    )


def read_file(path: Path) -> list[dict[str, Any]]:
    """Every row of a file."""

    def resolve(step: str) -> Path:
        raise AssertionError(f"a file names no step {step}")

    return list(read_rows(SourceConfig(path=str(path)), resolve))
