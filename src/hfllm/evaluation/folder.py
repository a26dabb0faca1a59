"""Evaluate one model folder on files of test rows and documents (`hfllm eval MODEL`).

The kind of a test is found from the columns of its first row (`kind_of`).
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hfllm.data.reading.examples import read_rows
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import ModelSpec, TaskSpec, TestRow
from hfllm.evaluation.table import format_table
from hfllm.inference.load import find_model, is_chat_model
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.model_names import model_name


def evaluate_folder(
    model: str | Path,
    tests: Sequence[Path] = (),
    text: Sequence[Path] = (),
    *,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    out: Path | None = None,
) -> str:
    """Evaluate one model; returns the table of results, with n and 95% intervals.

    Args:
        model: folder (or run step) of a language model.
        tests: files of test rows; the columns give the kind (config.TASK_KINDS), the column
            `task` the name.
        text: files of documents for bits per byte.
        limit: use the first rows of each task only; None: all.
        max_new_tokens: tokens that an answer may have; None: 512 for IFEval, else 48.
        out: folder for results.json, samples.jsonl and items.jsonl; None: they are not kept.

    Raises:
        ValueError: no file was given, a row fits no kind, or the folder is no model (one line).
    """
    if not tests and not text:
        raise ValueError("nothing to evaluate on: give --tests FILE.jsonl, --text FILE or both")
    folder = Path(find_model(model))
    tasks = read_tasks(tests, limit)
    for path in text:
        if stem(path) in tasks:
            raise ValueError(f"{path}: two files are called {stem(path)!r}; rename one of them")
        tasks[stem(path)] = TaskSpec("bits_per_byte", read_documents(path), limit)
    for task in tasks.values():
        task.max_new_tokens = max_new_tokens or task.max_new_tokens
    with tempfile.TemporaryDirectory() as scratch:
        spec = ModelSpec(model_name(folder), folder, is_chat_model(folder))
        results = evaluate_models([spec], tasks, out or Path(scratch))
    return format_table(results)


def read_tasks(paths: Sequence[Path], limit: int | None = None) -> dict[str, TaskSpec]:
    """Tasks by name: the rows of all files grouped by their `task` (default: the file's name)."""
    groups: dict[str, list[TestRow]] = defaultdict(list)
    kinds: dict[str, str] = {}
    named: dict[str, Path] = {}  # files whose rows have no `task`, by the name that they get
    for path in paths:
        for row in read_file(path):
            if not row.get("task") and named.setdefault(stem(path), path) != path:
                raise ValueError(f"{path}: two files are called {stem(path)!r}; rename one of them")
            name = str(row.get("task") or stem(path))
            if name not in kinds:
                kinds[name] = kind_of(row, path)
            groups[name].append(row)
    return {name: TaskSpec(kinds[name], rows, limit) for name, rows in groups.items()}


def kind_of(row: TestRow, path: Path) -> str:
    """The kind of test (config.TASK_KINDS) that a row's columns belong to.

    Raises:
        ValueError: the columns fit no kind.
    """
    if "sentence_good" in row or "gold" in row:
        return "choices"
    if "instruction_id_list" in row:
        return "ifeval"
    if "constraints" in row:
        return "instructions"
    if "context" in row and "continuation" in row:
        return "continuation"
    if "answer" in row and ("prompt" in row or "plain" in row):
        return "answers"
    raise ValueError(
        f"{path}: a test row has `prompt` (or `plain`) and `answer`, or `query`, `choices` and "
        f"`gold`, or `context` and `continuation`, or `prompt` and `constraints`; this one has "
        f"{', '.join(row)}; add the columns of one kind"
    )


def read_documents(path: Path) -> list[TestRow]:
    """The documents of a file; ValueError where a row has no `text`."""
    rows = read_file(path)
    for row in rows:
        if not isinstance(row.get("text"), str):
            raise ValueError(f"{path}: row {row['id']} has no `text`; it has {', '.join(row)}")
    return rows


def read_file(path: Path) -> list[TestRow]:
    """All rows of a file, in any format of data/reading/files.py."""

    def resolve(step: str) -> Path:
        raise AssertionError(f"a source with a path has no step, asked for {step}")

    return list(read_rows(SourceConfig(path=str(path)), resolve))


def stem(path: Path) -> str:
    """A file's name without its endings: "heldout" of heldout.jsonl.gz."""
    return path.name.split(".")[0]
