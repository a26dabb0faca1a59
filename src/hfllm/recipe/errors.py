"""What is wrong, in one line for a reader."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
