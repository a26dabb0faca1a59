"""Evaluate one model folder on files of test rows and documents (`hfllm eval MODEL`).

The kind of a test is found from the columns of its first row (shapes.py): questions, multiple
choice, continuations, IFEval, or chats, whose replies are scored and answered anew.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.account import account
from hfllm.data.reading.examples import read_rows
from hfllm.data.reading.unread import note_unread
from hfllm.evaluation.accepted import named
from hfllm.evaluation.columns_read import columns_read_of
from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.measure import ANSWER_TOKENS
from hfllm.evaluation.read_tests import read_test
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.shapes import as_test_row, kind_of
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

    The means over all answers are left out where there is one test of answers, whose they are.

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
    asked = {row["task"] for row in results if row["metric"] == ANSWER_TOKENS.name} - {ALL_ANSWERS}
    return format_table([r for r in results if len(asked) > 1 or r["task"] != ALL_ANSWERS])


def read_tasks(paths: Sequence[Path], limit: int | None = None) -> dict[str, TaskSpec]:
    """Tasks by name: the rows of all files grouped by their `task` (default: the file's name)."""
    groups: dict[str, list[TestRow]] = defaultdict(list)
    kinds: dict[str, str] = {}
    files: dict[str, Path] = {}  # whose rows have no `task`, by the name that they get
    for path in paths:
        source, ledger = SourceConfig(path=str(path)), Ledger()
        for row in read_rows(source, _no_step, ledger):
            if not row.get("task") and files.setdefault(stem(path), path) != path:
                raise ValueError(f"{path}: two files are called {stem(path)!r}; rename one of them")
            name = str(row.get("task") or stem(path))
            with named(row):
                kind = kinds.setdefault(name, kind_of(row))
                made = Example(as_test_row(row, kind), row.place)
            note_unread(row, made, columns_read_of(row, None, kind), ledger)
            groups[name].append(made)
        account(ledger, [source])
    for name, rows in groups.items():
        print(f"{name}: {len(rows):,} rows, read as a test of the kind `{kinds[name]}`", flush=True)
    return {name: TaskSpec(kinds[name], rows, limit) for name, rows in groups.items()}


def read_documents(path: Path) -> list[Example]:
    """The documents of a file; ValueError where a row has no text."""
    return read_test(SourceConfig(path=str(path)), "bits_per_byte", _no_step, Ledger())


def read_file(path: Path) -> list[Example]:
    """All rows of a file, in any format of data/reading/files.py."""
    return list(read_rows(SourceConfig(path=str(path)), _no_step))


def _no_step(step: str) -> Path:
    raise AssertionError(f"a source with a path has no step, asked for {step}")


def stem(path: Path) -> str:
    """A file's name without its endings: "heldout" of heldout.jsonl.gz."""
    return path.name.split(".")[0]
