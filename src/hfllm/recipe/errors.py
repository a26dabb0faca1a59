"""RecipeError, which holds all problems of a recipe, and the first line of an error's message."""

from __future__ import annotations

from pathlib import Path


class RecipeError(ValueError):
    """All problems of a recipe, one line each: `file: key: what is wrong; what to do`."""

    def __init__(self, path: Path | str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch.OutOfMemoryError, or a RuntimeError of the CPU allocator."""
    names = (type(error).__name__, str(error))
    return isinstance(error, MemoryError) or any(
        word in name for name in names for word in ("OutOfMemoryError", "allocate memory")
    )
