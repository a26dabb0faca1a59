"""Scripts whose words are not separated by spaces, and how long a word of them is."""

from __future__ import annotations

import re

_HAN_AND_KANA = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SYLLABIC = (  # Thai and Lao, Tibetan, Burmese, Khmer, Tai, Javanese
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u1a20-\u1aaf"
    "\ua980-\ua9df\uaa60-\uaa7f"
)
SPACELESS_CLASS = _HAN_AND_KANA + _SYLLABIC  # inside the brackets of a regular expression
SPACELESS = re.compile(f"[{SPACELESS_CLASS}]")
_FAR = re.compile("[\u0e00-\u1fff\u3000-\U0003ffff]")  # a wider class, found seven times as fast
_LONG_WORDS = re.compile(f"[{_SYLLABIC}]")
HAN_WORD, SYLLABIC_WORD = 2, 4  # characters of a word, about


def has_spaceless(text: str) -> bool:
    """Whether a text has a character of these scripts."""
    return not text.isascii() and bool(_FAR.search(text) and SPACELESS.search(text))


def characters_per_word(words: list[str]) -> int:
    """Of a text split by `words.split_words`: 1 if most of its words are words, else 2 or 4.

    Chinese and Japanese have about two characters a word, Thai and its like about four.
    """
    characters = [word for word in words if SPACELESS.match(word)]
    if 2 * len(characters) <= len(words):
        return 1
    long = sum(1 for character in characters if _LONG_WORDS.match(character))
    return SYLLABIC_WORD if 2 * long > len(characters) else HAN_WORD


def count_words(words: list[str]) -> int:
    """The number of words, with the characters of scripts without spaces as parts of a word."""
    count = len(words)
    for word in words:
        if not word.isascii() and SPACELESS.match(word):
            count -= 1
    single = len(words) - count
    return count + -(-single // characters_per_word(words)) if single else count
