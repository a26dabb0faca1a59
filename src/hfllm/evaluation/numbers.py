r"""Read the number that an answer gives: "$1,200.", "10-3=7 eggs, as 12-5", "\boxed{\frac{3}{4}}".

What is read as a number, exactly (no rounding, no tolerance):

- thousands: 1,200 · 1 200 (thin and hard spaces too) · 1'200 · 1.200.000 · 12,00,000
- decimals: 3.50 · .5 · 1.200,5 · 1,5. A lone point is a decimal one: 1.200 is 1.2
- signs: -5 · −5 · minus 5 · -$5. A hyphen behind a number is no sign (12-5); behind a letter it
  makes a name of the number, which is passed over (COVID-19)
- fractions 3/4, 1 1/2, ½, \frac{3}{4}; powers and exponents: 2^10, 1.2e3, 1.2 × 10³
- percent, currencies and units are passed over; 12% is also 0.12 where only one side has the sign;
  thousand, million, billion and trillion may count: 1.2 million is 1,200,000 or 1.2

Which number of a text: that of the last \boxed{}; else what follows "####" (GSM8K); of these, the
last number that is no operand: a number beside + - * / × ÷ or ^ is part of a calculation, what
follows its "=" is the result. If a text has only operands, the last one. Words ("seven") are not
numbers. Where a form can be read in two ways (1,5: a decimal, or two numbers), both are accepted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

MOST_DIGITS = 300  # of a number, and of an exponent's value; a longer one is not a number
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
SIGNS = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "⁄": "/", "’": "'"})
CURRENCY = r"[$€£¥₹]"
GROUP = r"(?:,\d{3}|,\d{2}(?=,\d{2,3}(?!\d)))"  # a thousands group; the second is Indian
NUMBER = re.compile(
    rf"""
    (?P<value>
        \d{{1,3}}(?:\.\d{{3}})+,\d+(?![\d.,]*\d)     # 1.200,5
      | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\d.,]*\d)    # 1.200.000
      | \d{{1,3}}{GROUP}+(?:\.\d+)?(?!\d)            # 1,200.5
      | \d{{1,3}}(?:['\u2009_]\d{{3}})+(?:[.,]\d+)?(?!\d)  # 1'200, and with a hard space
      | \d+(?:\.\d+)?
      | (?<![\d.])\.\d+
    )
    (?P<exponent>[eE][-+]?\d+\b|\s?(?:[x×*·]|times)\s?10\^\(?-?\d+\)?)?
    (?P<power>\^\(?-?\d+\)?)?
    (?P<over>/\d+(?:\.\d+)?(?![\d/]))?
    (?P<percent>\s?(?:%|percent\b|per\scent\b))?
    (?P<large>\s(?:thousand|million|billion|trillion)\b)?
    """,
    re.VERBOSE,
)
SIGN = re.compile(
    rf"(?:(?<![\w)\]%])[-+]|(?<![\d)]\s)\b(?:minus|negative)\s)(?:{CURRENCY}\s?)?$", re.IGNORECASE
)
LABEL = re.compile(r"[^\W\d_]-$|[^\d\s)^]\^[({-]*$|\b[kcdm]m$")  # COVID-19, x^2, m^2, km2
BINARY = re.compile(rf"[\d)%]\s+[-+]{CURRENCY}?$")  # "34 -25": the sign of a calculation
AFTER = re.compile(r"[ )\]%]*(?:[-+*×÷·/^]|x(?=[ \d]))[ (]*(?:[$€£¥₹] ?)?-?(?=[\d.])")
BEFORE = re.compile(rf"\d[ )\]%]*(?:[-+*×÷·/^]|x)[ (]*(?:{CURRENCY} ?)?-?$")
JOINED = re.compile(r"(?<=\d)(?:[ ]\d{3})+(?!\d)|(?<=\d),\d{1,2}(?!\d)|(?<=\d),\d{4,}")


@dataclass(frozen=True)
class Number:
    """A number in a text: every value that it can be read as, and its place."""

    values: frozenset[Fraction]
    percent: bool
    operand: bool  # of a calculation, not its result
    start: int
    end: int


def same_number(text: str, wanted: str) -> bool:
    """Whether the number that `text` gives is `wanted`.

    Raises:
        ValueError: `wanted` is not one number.
    """
    reference, found = the_number(wanted), given(text)
    if found is None:
        return False
    one, other = found.values, reference.values
    if found.percent != reference.percent:
        one, other = (
            values | {value / 100 for value in values} if number.percent else values
            for values, number in ((one, found), (other, reference))
        )
    return not one.isdisjoint(other)


def the_number(text: str) -> Number:
    """The number of a reference, such as "1,200", "$18" or "7 eggs"; "... #### 18" is GSM8K's.

    Raises:
        ValueError: it has none, or several.
    """
    found = numbers(_marked(text))
    results = [one for one in found if not one.operand]
    if len(results or found) != 1:
        raise ValueError(f"{text!r:.60} is not one number")
    return (results or found)[0]


def given(text: str) -> Number | None:
    """The number that a text gives as its answer; None without one."""
    found = numbers(_marked(text))
    wanted = [one for one in found if not one.operand] or found
    return wanted[-1] if wanted else None


def numbers(text: str) -> list[Number]:
    """All numbers of a text, in order."""
    text = _plain(text)
    out: list[Number] = []
    at = 0
    while match := NUMBER.search(text, at):
        at = match.end()
        before = text[max(0, match.start() - 24) : match.start()]
        if LABEL.search(before):
            continue
        values = _values(match)
        end = match.end()
        if joined := JOINED.match(text, match.end("value")) if end == match.end("value") else None:
            values |= _values_of(match[0] + joined[0].replace(" ", "").replace(",", "."))
            if "," in joined[0]:
                values |= _values_of(joined[0][1:])
            if " " in joined[0]:
                values |= _values_of(joined[0].split()[-1])
            at = end = joined.end()
        if whole := re.search(r"(?<![\d.,/])(\d+) $", before) if match["over"] else None:
            values |= {int(whole[1]) + value for value in values}  # 1 1/2
            out = out[:-1]
        if not values:
            continue
        sign = SIGN.search(before)
        if sign and "+" not in sign[0] and not BINARY.search(before):
            values = {-value for value in values}
        operand = bool(AFTER.match(text, end) or BEFORE.search(before))
        out.append(Number(frozenset(values), bool(match["percent"]), operand, match.start(), end))
    return out


def _marked(text: str) -> str:
    r"""What an answer marks as its result: the last \boxed{...}, else the rest after "####"."""
    start = text.rfind("\\boxed{")
    if start >= 0:
        depth, begin = 0, start + len("\\boxed")
        for at in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                return text[begin + 1 : at]
    marked = text.rpartition("####")[2]
    return marked if re.search(r"\d", marked) else text


def _plain(text: str) -> str:
    """The text with one way to write signs, spaces, superscripts and LaTeX's numbers."""
    text = re.sub(r"[⁰¹²³⁴-⁹⁻]+", lambda m: "^" + m[0].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(\d)(?=[¼-¾⅐-⅞])", r"\1 ", text)
    text = re.sub(r"(?<=\d)[\u00a0\u2007\u2009\u202f](?=\d{3})", "\0", text)  # hard: a thousand
    text = unicodedata.normalize("NFKC", text).translate(SIGNS).replace("\0", "\u2009")
    text = text.replace("{,}", ",").replace("\\,", "\u2009").replace("\\!", "")
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", text)
    text = text.replace("\\times", "×").replace("\\cdot", "·").replace("\\div", "÷")
    text = re.sub(r"\\(?:text|mathrm)\s*\{([^{}]*)\}", r" \1", text)
    return re.sub(r"\^\{([^{}]*)\}", r"^\1", text).replace("\\", "")


def _values(match: re.Match[str]) -> set[Fraction]:
    values = _values_of(match["value"])
    for part in ("exponent", "power"):
        if match[part]:
            exponent = int(re.sub(r".*[eE^]", "", match[part]).strip("()"))
            if abs(exponent) > MOST_DIGITS:
                return set()
            base = {Fraction(10) ** exponent}
            if part == "exponent":
                values = {value * one for value in values for one in base}
            elif all(value and len(str(value)) * abs(exponent) <= MOST_DIGITS for value in values):
                values = {value**exponent for value in values}
    if match["over"]:
        below = _values_of(match["over"][1:])
        values = {value / one for value in values for one in below if one}
    if match["large"]:
        values |= {value * LARGE[match["large"].strip()] for value in values}
    return values


def _values_of(digits: str) -> set[Fraction]:
    """The value of digits with separators; none of more digits than MOST_DIGITS."""
    if len(digits) > MOST_DIGITS:
        return set()
    digits = re.sub(r"['\u2009_ ]", "", digits)
    if re.fullmatch(r"\d+(?:\.\d{3})+,\d+|\d+(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif re.fullmatch(rf"\d{{1,3}}{GROUP}+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    return {Fraction(digits)} if re.fullmatch(r"\d*\.?\d+", digits) else set()
