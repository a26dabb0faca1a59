"""What is wrong with a recipe, one line a problem, and an error's first line."""

from __future__ import annotations

from pathlib import Path


class RecipeError(ValueError):
    """All problems of a recipe, one per line, each with file, key and remedy."""

    def __init__(self, path: Path | str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
