"""Say how many texts were cut to fit a model's positions: what it does not see counts in scores."""

from __future__ import annotations

from hfllm.runs.processes import is_main_process


def say_cut(
    label: str, cut: int, total: int, limit: int, what: str = "contexts", lost: str = "beginning"
) -> None:
    """Print how many of `total` texts exceed the positions; nothing if none does.

    Args:
        label: begins the line.
        cut: how many were cut.
        total: how many there are.
        limit: positions of the model, in tokens.
        what: the texts are.
        lost: which end of them was cut.
    """
    if cut and is_main_process():
        print(
            f"{label}: {cut:,} of {total:,} {what} exceed the model's {limit:,} positions; their "
            f"{lost} was cut",
            flush=True,
        )
