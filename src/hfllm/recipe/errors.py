"""RecipeError, which holds all problems of a recipe, and the first line of an error's message."""

from __future__ import annotations

from pathlib import Path


class RecipeError(ValueError):
    """All problems of a recipe, one line each: `file: key: what is wrong; what to do`."""

    def __init__(self, path: Path | str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
