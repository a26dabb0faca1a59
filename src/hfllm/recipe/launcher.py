"""Whether a process is a launcher, by its command line: `accelerate launch`, torchrun."""

from __future__ import annotations

import re
from pathlib import Path

PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?$")


def launcher_words(names: tuple[str, ...] = ("accelerate",)) -> list[str]:
    """The parent process's command line if it is a launcher of one of these names, else []."""
    import psutil

    try:
        words = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return []
    return words if is_launcher(words, names) else []


def is_launcher(words: list[str], names: tuple[str, ...] = ("accelerate",)) -> bool:
    """Whether a command line is that of a launcher with one of these names."""
    return any(_names(words, at, name) for at in range(len(words[:4])) for name in names)


def _names(words: list[str], at: int, name: str) -> bool:
    """Whether the word is the program, or the script or module that python runs, of this name.

    A folder of this name on the way to another program is not.
    """
    is_python = bool(PYTHON.match(Path(words[0]).name))
    if at and words[at - 1] == "-m":
        return is_python and (words[at] == name or words[at].startswith(f"{name}."))
    is_program = at == 0 or (is_python and (at == 1 or words[at - 1].startswith("-")))
    return is_program and Path(words[at]).stem in (name, f"{name}-launch")
