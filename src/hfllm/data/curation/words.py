"""Words and hashed runs of words: what dedup, decontamination and the filters all look at.

A word is a run of letters or digits in lower case, or an arithmetic sign that stands alone
("37 + 45" is not "37 45"); all other punctuation is gone, so that editions that differ in quotes
and dashes agree. Each word becomes 64 bits of BLAKE2b (the same in every process, unlike
Python's `hash`), a run of n words a polynomial in them. About 40 MB/s to split, 15 MB/s to hash.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import numpy as np

WORD = re.compile(r"[^\W_]+|(?<=\s)[-+*/=×÷](?=\s)")
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing (mod 2**64)
MIX = np.uint64(0xBF58476D1CE4E5B9)  # the finisher of splitmix64 (Steele et al. 2014)
MAX_CACHED_WORDS = 1_000_000


def split_words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return WORD.findall(text.lower())


def hash64(text: str) -> int:
    """64 bits that depend on the text alone."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


class _Places(dict[str, int]):
    """Word -> its place in a table of hashes: small numbers pass to numpy faster than hashes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = np.zeros(1024, np.uint64)

    def __missing__(self, word: str) -> int:
        self[word] = place = len(self)
        if place == len(self.table):
            self.table = np.concatenate([self.table, np.zeros_like(self.table)])
        self.table[place] = hash64(word)
        return place


_places = _Places()


def word_ids(words: list[str]) -> np.ndarray:
    """Words -> uint64 ids  # (W,)."""
    if len(_places) > MAX_CACHED_WORDS:
        _places.clear()
    places = np.fromiter(map(_places.__getitem__, words), np.intp, len(words))
    return _places.table[places]


def ngram_ids(ids: np.ndarray, n: int) -> np.ndarray:
    """Hash of every run of n words, or of the whole text if shorter  # (max(1, W - n + 1),)."""
    n = max(1, min(n, len(ids)))
    runs = np.zeros(max(0, len(ids) - n + 1), np.uint64)
    for i in range(n):
        runs = runs * BASE + ids[i : len(ids) - n + 1 + i]
    runs ^= runs >> np.uint64(31)
    runs *= MIX
    return runs ^ (runs >> np.uint64(29))
