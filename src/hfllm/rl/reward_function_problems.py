"""Reward functions before a run: imported, and called by no one, but asked whether they could be.

For the checks before a run (`Stage.first_rows`). The working folder is searched first, as in a
step's own process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from hfllm.recipe.errors import first_line
from hfllm.rl.checked_reward import CheckedReward, refuse_async
from hfllm.rl.rewards import load_functions

# what TRL passes besides the columns: one list each, and three that are not
LISTS = ("prompts", "completions", "completion_ids")
OTHERS = ("trainer_state", "log_extra", "log_metric", "environments")


def function_problems(
    names: list[str], columns: Iterable[str], changed: bool = False
) -> Iterator[str]:
    """Reward functions that cannot be imported, or not be called with the columns of the data.

    Args:
        names: "package.module:function".
        columns: of the prompts; empty if no prompt could be read.
        changed: a judge or a length floor changes their scores.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    rows = [name for name in columns if name != "prompt"]
    given: dict[str, Any] = {name: [] for name in (*LISTS, *rows)} | dict.fromkeys(OTHERS)
    for name in names:
        try:
            (function,) = load_functions([name])
            if changed:
                refuse_async(function, name)
            if rows:
                CheckedReward(function).check_arguments(given)
        except ValueError as error:
            yield _with_key(str(error))
        except Exception as error:  # whatever a user's module does when it is imported
            what = f"{type(error).__name__}: {first_line(error)}"
            yield _with_key(f"{name!r}: importing it failed: {what}")


def _with_key(message: str) -> str:
    key = "reward_functions: "
    return message if message.startswith(key) else key + message
