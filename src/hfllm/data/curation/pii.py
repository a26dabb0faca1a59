"""Replace e-mail addresses, phone numbers and public IPv4 addresses by placeholders.

Own regular expressions rather than datatrove's formatter: that one has no phone numbers, and its
replacements look like real addresses, which a model then learns to answer with. Digits count as a
phone number only in the format of one (country code, area code in brackets, 3-3-4 groups) or, if
they are short, after a word such as "call": prose is full of years and sums.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

from hfllm.data.curation.document import Change, Document

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b")
IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
PHONE = re.compile(
    r"""(?<![\w.+*/=)\]-])(?:
      \+[1-9]\d{0,2}(?:[ .-]\(?\d{1,4}\)?){1,2}(?:[ .-]?\d{2,4}){1,3}       # +49 30 1234567
    | \+[1-9]\d{9,14}                                                       # +15551234567
    | \(\d{2,4}\)[ .-]?\d{3,4}[ .-]?\d{3,4}                                # (555) 123-4567
    | (?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}                                  # 555-123-4567
    )(?![\w-]|\.\d)""",
    re.VERBOSE,
)
MIN_LARGEST_OCTET = 32  # version numbers stay below it; of addresses only 1 in 4,096 does
ANNOUNCED = re.compile(
    r"(?i)\b((?:call|phone|tel|telephone|fax|mobile|ring|dial|text|whatsapp)\b"
    r"(?:[ .:]|us|me|him|her|at|on|number|no|is|now|the|today)*)"
    r"(\d{3,5}[ .-]?\d{3,5}(?:[ .-]?\d{2,4})?)\b(?![\w-]*\d)"
)


class ReplacePII:
    """The block: replace personal data; `replaced` counts it by kind."""

    def __init__(self) -> None:
        """Start the counts at 0."""
        self.replaced: Counter[str] = Counter()

    def __call__(self, document: Document) -> Change | None:
        """Change(text, "pii"), or None."""
        text, found = replace_pii(document.text)
        self.replaced.update(found)
        return Change(text, "pii") if found else None


def replace_pii(text: str) -> tuple[str, Counter[str]]:
    """The text with <email>, <phone> and <ip> instead of addresses, and the count of each."""
    found: Counter[str] = Counter()
    if "@" in text:
        text, found["email"] = EMAIL.subn("<email>", text)
    if not any(map(text.__contains__, "0123456789")):
        return text, +found
    text = IP.sub(lambda match: _ip(match, found), text)
    text, found["phone"] = PHONE.subn("<phone>", text)
    text, announced = ANNOUNCED.subn(r"\1<phone>", text)
    found["phone"] += announced
    return text, +found


def _ip(match: re.Match[str], found: Counter[str]) -> str:
    """Replace public addresses only: 10.0.0.1 is private, 2.6.18.6 a version number."""
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return match[0]
    public = address.is_global and max(address.packed) >= MIN_LARGEST_OCTET
    found["ip"] += public
    return "<ip>" if public else match[0]
