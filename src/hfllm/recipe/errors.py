"""RecipeError, which holds all problems of a recipe, and the first line of an error's message."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RecipeError(ValueError):
    """All problems of a recipe, one line each: `file: key: what is wrong; what to do`."""

    def __init__(self, path: Path | str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if the message is empty.

    A first line that ends in a colon is continued by the next ones.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if lines and lines[0].endswith(":"):
        return " ".join(lines)[:300]
    return lines[0] if lines else type(error).__name__


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a library raises over somebody's file into a ValueError `what: reason`.

    For a library's reader alone: around our own code it would hide our mistakes. Lack of memory and
    a full disk are left as they are.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or getattr(error, "errno", None) == errno.ENOSPC:
            raise
        is_told = isinstance(error, OSError | ValueError | RuntimeError | ImportError)
        kind = "" if is_told else f"{type(error).__name__}: "
        raise ValueError(f"{what}: {kind}{first_line(error)}") from error


def raise_out_of_memory(error: Exception) -> None:
    """Raise an error again if memory ran out: for trials, which take any other for an answer."""
    if is_out_of_memory(error):
        raise error


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch.OutOfMemoryError, or a RuntimeError of the CPU allocator."""
    names = (type(error).__name__, str(error))
    return isinstance(error, MemoryError) or any(
        word in name for name in names for word in ("OutOfMemoryError", "allocate memory")
    )
