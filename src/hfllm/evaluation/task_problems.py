"""The first rows of each test, in the shape that its kind needs, before any model is trained.

For the checks before a run (`Stage.first_rows`).
"""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.data.reading.first_rows import first_rows
from hfllm.evaluation.shapes import as_test_row
from hfllm.runs.layout import Step

# others: rows of a shape (shapes.py)
READ_AS = {"bits_per_byte": "texts", "preference": "pairs", "replies": "prompts"}


def task_problems(step: Step) -> Iterator[str]:
    """Tests whose first rows cannot be read or have another shape, one line each."""
    tasks = step.spec.config.tasks
    kinds = {f"tasks.{name}.source": READ_AS.get(task.kind, "rows") for name, task in tasks.items()}
    found, problems = first_rows(step, kinds)
    yield from problems
    for name, task in tasks.items():
        key = f"tasks.{name}.source"
        of_a_shape = task.kind not in READ_AS and task.source.on_error != "skip"
        for row in found.get(key, []) if of_a_shape else []:
            try:
                as_test_row(row, task.kind)
            except ValueError as error:
                yield f"{key}: {row.place}: {error}"
                break
