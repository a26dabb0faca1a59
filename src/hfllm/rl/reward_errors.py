"""Errors of the user's reward functions as one line with their place."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hfllm
from hfllm.recipe.errors import first_line

OURS = Path(hfllm.__file__).parent


class RewardError(ValueError):
    """What is wrong with a reward function, in one line."""


@contextmanager
def no_exit(name: str) -> Iterator[None]:
    """Context for the user's code: its `sys.exit` is an error, not the end of ours.

    A SystemExit of our own signal handlers, which may arrive meanwhile, is passed on.
    """
    try:
        yield
    except SystemExit as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if Path(last.filename).is_relative_to(OURS):
            raise
        raise RewardError(
            f"{name} ends the program at {last.filename}:{last.lineno} (sys.exit); raise an "
            "error there instead"
        ) from error


def failure(name: str, error: Exception) -> RewardError:
    """One line on an error of the user's code, with its place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return RewardError(
        f"{name} failed at {last.filename}:{last.lineno}: {type(error).__name__}: "
        f"{first_line(error)}"
    )
