"""Kinds of constraints: phrasings, parameters, and the check of an answer.

Tests use other parameters and other phrasings than training. Training has many of both, because
what a model learns from a few would not generalise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Parameters = dict[str, Any]
WORD = re.compile(r"\b\w[\w'\u2019-]*\b")
LAST_WORD = re.compile(r"[\w'\u2019-]+$")
BULLET = re.compile(r"^\s*[*-] +\S", re.MULTILINE)
FENCED = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """One kind of constraint.

    texts: phrasings (for training, for tests), with slots for the parameters.
    values: parameters (for training, for tests).
    share: degree, 0 to 1, to which an answer satisfies it; most kinds know only 0 and 1.
    not_with: kinds that cannot be satisfied at the same time.
    broken: whether a prefix violates it whatever follows.
    lasting: whether what a prefix satisfies stays satisfied whatever follows.
    """

    texts: tuple[tuple[str, ...], tuple[str, ...]]
    values: tuple[tuple[Parameters, ...], tuple[Parameters, ...]]
    share: Callable[[str, Parameters], float]
    not_with: tuple[str, ...] = ()
    broken: Callable[[str, Parameters], bool] = lambda _text, _given: False
    lasting: bool = False


def _is_lowercase(text: str, _: Parameters) -> bool:
    return text == text.lower() and any(c.isalpha() for c in text)


def _has_no_comma(text: str, _: Parameters) -> bool:
    return "," not in text


def _is_short(text: str, given: Parameters) -> bool:
    return 0 < len(WORD.findall(text)) <= given["words"]


def _ends_with(text: str, given: Parameters) -> bool:
    return text.rstrip().rstrip('"').rstrip().lower().endswith(given["phrase"].lower())


def _has_bullets(text: str, given: Parameters) -> bool:
    return len(BULLET.findall(text)) == given["bullets"]


def _is_json(text: str, _: Parameters) -> bool:
    inner = FENCED.match(text.strip())
    try:
        found = json.loads(inner[1] if inner else text)
    except (ValueError, RecursionError):  # a thousand opening brackets
        return False
    return isinstance(found, dict | list) and bool(found)


def _contains(text: str, given: Parameters) -> float:
    said = {word.lower() for word in WORD.findall(text)}
    wanted = given["contained"]
    return sum(word.lower() in said for word in wanted) / len(wanted)


def _pairs(*words: str) -> tuple[Parameters, ...]:
    return tuple({"contained": [a, b]} for i, a in enumerate(words) for b in words[i + 1 :])


NOTHING: tuple[Parameters, ...] = ({},)


def _numbers(name: str, *numbers: int) -> tuple[Parameters, ...]:
    return tuple({name: n} for n in numbers)


def _phrases(*phrases: str) -> tuple[Parameters, ...]:
    return tuple({"phrase": phrase} for phrase in phrases)


KINDS: dict[str, Kind] = {
    "lowercase": Kind(
        (
            (
                "Write in lowercase letters only.",
                "Use no capital letters.",
                "Answer in all lowercase.",
                "Every letter of your reply has to be lowercase.",
                "Please keep everything in lowercase.",
            ),
            ("Your whole answer must be in lowercase.",),
        ),
        (NOTHING, NOTHING),
        _is_lowercase,
        not_with=("json",),
        broken=lambda text, _: text != text.lower(),
    ),
    "no_comma": Kind(
        (
            (
                "Do not use any commas.",
                "Write without commas.",
                "Avoid commas.",
                "Your reply should have no commas.",
            ),
            ("No comma may appear in your answer.",),
        ),
        (NOTHING, NOTHING),
        _has_no_comma,
        not_with=("json",),
        broken=lambda text, _: "," in text,
    ),
    "max_words": Kind(
        (
            (
                "Use at most {words} words.",
                "Answer in no more than {words} words.",
                "Keep it to {words} words or fewer.",
                "Your reply may have {words} words at most.",
                "Do not write more than {words} words.",
            ),
            ("Your answer must not be longer than {words} words.",),
        ),
        (_numbers("words", 8, 10, 14, 16, 20, 25, 32, 40), _numbers("words", 12, 18, 30)),
        _is_short,
        not_with=("json", "bullets"),
        broken=lambda text, given: len(WORD.findall(text)) > given["words"],
    ),
    "ends_with": Kind(
        (
            (
                'End your answer with the exact phrase "{phrase}"',
                'The last words of your answer must be "{phrase}"',
                'Close with the words "{phrase}"',
                'Your reply has to end with "{phrase}" and nothing else after it.',
                'At the very end, say "{phrase}"',
                'Stop after the phrase "{phrase}"',
            ),
            ('Finish your answer with "{phrase}" and write nothing after it.',),
        ),
        (
            _phrases(
                "that is all",
                "hope this helps",
                "thank you",
                "the end",
                "what do you think?",
                "good luck",
                "let me know",
                "see you soon",
                "all the best",
                "over and out",
                "take care",
                "any questions?",
                "case closed",
                "you are welcome",
                "end of story",
                "now you know",
                "happy to help",
                "ask me anything",
                "does that make sense?",
                "enjoy the weekend",
            ),
            _phrases("have a nice day", "is there anything else?", "so it is"),
        ),
        _ends_with,
        not_with=("json",),
    ),
    "bullets": Kind(
        (
            (
                'Answer with exactly {bullets} bullet points, on lines that start with "* ".',
                'Write {bullets} bullet points, each starting with "- ".',
                'Give {bullets} bullet points, no more and no fewer, and start each with "* ".',
                'List {bullets} things, each on a line that begins with "* ".',
            ),
            ('Your answer must have exactly {bullets} bullet points that begin with "* ".',),
        ),
        (_numbers("bullets", 2, 4, 5), _numbers("bullets", 3)),
        _has_bullets,
        not_with=("json", "max_words", "ends_with"),
        broken=lambda text, given: len(BULLET.findall(text)) > given["bullets"],
    ),
    "json": Kind(
        (
            (
                "Answer in JSON.",
                "Give your whole answer as a JSON object.",
                "Reply with valid JSON and nothing else.",
                "Format your reply as JSON.",
            ),
            ("Your entire output must be valid JSON.",),
        ),
        (NOTHING, NOTHING),
        _is_json,
        not_with=("lowercase", "no_comma", "max_words", "ends_with", "bullets"),
        broken=lambda text, _: text.lstrip()[:1] not in ("", "{", "[", "`"),
    ),
    "contains": Kind(
        (
            (
                'Use the words "{contained[0]}" and "{contained[1]}".',
                'Your answer has to contain "{contained[0]}" and "{contained[1]}".',
                'Include the words "{contained[0]}" and "{contained[1]}" in what you say.',
                'Do not forget the words "{contained[0]}" and "{contained[1]}".',
                'Work "{contained[0]}" and "{contained[1]}" into your reply.',
            ),
            ('Both "{contained[0]}" and "{contained[1]}" must appear in your answer.',),
        ),
        (
            _pairs(
                *("because", "often", "people", "small", "first", "simple"),
                *("many", "important", "time", "always", "different", "known"),
            ),
            _pairs("however", "world", "good"),
        ),
        _contains,
        lasting=True,
    ),
}
