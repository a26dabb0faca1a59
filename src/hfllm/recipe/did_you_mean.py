"""Suggest the closest existing name or path for an error message ("Did you mean ...?")."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return " Did you mean: 'NAME'?" with the name closest to `word`, or "" if none is close."""
    near = nearest(word, names)
    return f" Did you mean: '{near}'?" if near else ""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name closest to `word`, or None if none is close.

    Of two short words with a common half (dpo and ppo) neither is a typo of the other, unless
    letters are swapped.
    """
    for near in difflib.get_close_matches(word, list(names), n=1):
        ratio = difflib.SequenceMatcher(None, word, near).ratio()
        if len(word) > 4 or ratio >= 0.75 or sorted(word) == sorted(near):
            return near
    return None


def near_path(path: Path) -> Path | None:
    """Return the existing path closest to `path`, or None if there is none.

    Only the first component that does not exist is replaced, by the closest name in its folder.
    """
    wrong = first_missing(path)
    if not wrong.parent.is_dir():
        return None
    here = [p for p in wrong.parent.iterdir() if p.exists()]  # not a link to nowhere
    names = [p.name for p in here if not p.name.startswith(".")]
    close = difflib.get_close_matches(wrong.name, names, n=1)
    return wrong.parent / close[0] / path.relative_to(wrong) if close else None


def first_missing(path: Path) -> Path:
    """Return the highest ancestor of `path` (or `path` itself) that does not exist."""
    while path.parent != path and not path.parent.is_dir():
        path = path.parent
    return path
