"""The mess of the web, made on purpose: what a curator must clean, drop or leave.

Each function takes the generator and gives the messy payload; `documents` decides how much of it
there is and records the truth. Similarity is the Jaccard index of runs of five words, the
measure that MinHash estimates (Broder 1997).
"""

from __future__ import annotations

import html
import random
import re
import string

from hfllm.world import rubbish

SHINGLE_WORDS = 5
MIN_SIMILARITY = 0.85  # of a planted near duplicate to its original


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the runs of five words of a text, without case and punctuation."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def similarity(a: str, b: str) -> float:
    """Return the Jaccard index of the shingles of two texts, 0 to 1."""
    left, right = shingles(a), shingles(b)
    union = left | right
    return len(left & right) / len(union) if union else 0.0


def _change_words(rng: random.Random, text: str) -> str:
    """Change a few words: near the ends, where few runs of five words hold them."""
    changes = rng.sample(("before", "after", "last", "first"), rng.choice((1, 2)))
    lines = text.split("\n")
    if "before" in changes:
        lines[0] = f"{rng.choice(rubbish.PREFIXES)} {lines[0]}"
    if "first" in changes:
        _, _, rest = lines[0].partition(" ")
        lines[0] = f"{rng.choice(rubbish.FIRST_WORDS)} {rest}"
    if "last" in changes:
        rest, _, _ = lines[-1].rpartition(" ")
        lines[-1] = f"{rest} {rng.choice(rubbish.LAST_WORDS)}."
    if "after" in changes:
        lines[-1] = f"{lines[-1]} {rng.choice(rubbish.SUFFIXES)}"
    return "\n".join(lines)


def near_duplicate(rng: random.Random, text: str) -> str:
    """Return the text with a few words changed, at least 0.85 similar but not equal."""
    while True:
        changed = _change_words(rng, text)
        if shingles(changed) != shingles(text) and similarity(changed, text) >= MIN_SIMILARITY:
            return changed


def wrap_html(rng: random.Random, title: str, paragraphs: tuple[str, ...]) -> str:
    """Wrap paragraphs in a page with script, navigation, cookie banner and footer."""
    links = "".join(f'<li><a href="/{w.lower()}">{w}</a></li>' for w in rng.sample(rubbish.NAV, 5))
    article = "\n".join(f"<p>{html.escape(p, quote=False)}</p>" for p in paragraphs)
    main = rng.choice(("article", "main"))
    cookie = f'<div class="cookie-banner">{rng.choice(rubbish.COOKIES)}</div>'
    side = f'<aside class="sidebar"><ul>{links}</ul></aside>' if rng.random() < 0.4 else ""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
            f"<script>{rng.choice(rubbish.SCRIPTS)}</script>",
            f"<style>{rng.choice(rubbish.STYLES)}</style></head>",
            f'<body><nav class="menu"><ul>{links}</ul></nav>',
            cookie,
            f"<{main}>\n{article}\n</{main}>",
            f"{side}<footer>{rng.choice(rubbish.FOOTERS)}</footer>",
            f"<script>{rng.choice(rubbish.SCRIPTS)}</script></body></html>",
        )
    )


def contact(rng: random.Random) -> tuple[str, list[str]]:
    """Return a sentence with an invented e-mail address or phone number, and those strings."""
    user = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 7)))
    mail = f"{user}{rng.randint(1, 99)}@{rng.choice(rubbish.MAIL_HOSTS)}"
    area, line = rng.randint(201, 989), f"555-{rng.randint(0, 9999):04d}"
    phone = rng.choice((f"({area}) {line}", f"{area}-{line}", f"+1 {area} {line}"))
    kind = rng.choice(("mail", "phone", "both"))
    if kind == "mail":
        return f"Write to {mail} to learn more.", [mail]
    if kind == "phone":
        return f"Call {phone} to learn more.", [phone]
    return f"Write to {mail} or call {phone} to learn more.", [mail, phone]


def _noise_word(rng: random.Random) -> str:
    return "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=rng.randint(3, 9)))


def gibberish(rng: random.Random) -> str:
    """Return noise: random letters, symbols, a repeated line, or a table of numbers."""
    kind = rng.choice(("letters", "symbols", "spam", "numbers"))
    if kind == "letters":
        return " ".join(_noise_word(rng) for _ in range(rng.randint(25, 50)))
    if kind == "symbols":
        words = (_noise_word(rng) for _ in range(20))
        return " ".join(f"{''.join(rng.choices('#$%*{}|<>~^', k=3))} {w} ..." for w in words)
    if kind == "spam":
        return "\n".join([rng.choice(rubbish.SPAM)] * rng.randint(6, 10))
    rows = (" ".join(str(rng.randint(0, 99999)) for _ in range(6)) for _ in range(6))
    return "\n".join(rows)


def foreign(rng: random.Random) -> str:
    """Return a short text in German, Spanish or French."""
    sentences = rubbish.FOREIGN[rng.choice(tuple(rubbish.FOREIGN))]
    return " ".join(rng.sample(sentences, 5))
