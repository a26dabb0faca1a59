"""Folder names of packed sources: one source, one folder.

Two labels that differ only in a sign ("my set", "my/set") or in case (one folder on macOS) would
share a folder: the second would overwrite the rows of the first while the ledger counts both. Such
labels are refused (`folder_problems`), before a run and again before anything is packed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256

MOST_BYTES = 120  # of a folder's name; file systems take 255
TAKEN = ("ledger.json",)  # a file of the same folder


def folder_name(label: str) -> str:
    """A source's label as a folder name; one that no folder may have gets a hash of the label."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in label)
    if safe.strip(".") and safe.casefold() not in TAKEN and len(safe.encode()) <= MOST_BYTES:
        return safe
    short = safe.strip(".").encode()[:MOST_BYTES].decode(errors="ignore")
    return f"{short}-{sha256(label.encode()).hexdigest()[:8]}"


def folder_problems(labels: Iterable[str], packed: bool = True) -> list[str]:
    """A line for each two sources that the ledger, or if `packed` a folder, cannot tell apart."""
    sharing: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        sharing[folder_name(label).casefold() if packed else label].append(label)
    return [
        f"two sources are called '{one}'; give them a `name:`"
        if one in others
        else f"sources '{one}' and '{others[0]}' would be packed into one folder ({folder}); give "
        "one of them another `name:`"
        for folder, (one, *others) in sharing.items()
        if others
    ]


def check_folders(where: str, labels: Iterable[str]) -> None:
    """Raise ValueError with the first of `folder_problems`; `where`: the key of the sources."""
    if problems := folder_problems(labels):
        raise ValueError(f"{where}: {problems[0]}")
