"""What all verbs share: errors of one line, and bounds of options."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what the user can mend into "error:" lines and an exit code; Ctrl-C into 130."""
    try:
        yield
    except BrokenPipeError:  # `hfllm show ... | head`
        raise typer.Exit(141) from None
    except (Exception, KeyboardInterrupt) as error:
        from hfllm.runs.user_errors import explain

        told = explain(error)
        if told is None:
            raise
        for line in told[0].splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise typer.Exit(told[1]) from None


def at_least(least: int, **options: float | None) -> None:
    """Refuse the value of an option that is too small or not finite."""
    for name, value in options.items():
        if value is not None and not least <= value < float("inf"):
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: {value} is not a number from {least} on")
