"""Web noise: near duplicates, HTML boilerplate, contact data, gibberish, foreign languages.

What a curator must drop or clean. Each function takes the random generator and returns the noisy
text; documents.py decides how much noise there is and records the right decision. Similarity is
the Jaccard index of five-word shingles, which MinHash estimates (Broder 1997).
"""

from __future__ import annotations

import html
import random
import re
import string

from hfllm.world import noise_texts

SHINGLE_WORDS = 5
MIN_SIMILARITY = 0.85  # of a planted near duplicate to its original


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the five-word shingles of a text, without case and punctuation."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def similarity(a: str, b: str) -> float:
    """Return the Jaccard index of the shingles of two texts, 0 to 1."""
    left, right = shingles(a), shingles(b)
    union = left | right
    return len(left & right) / len(union) if union else 0.0


def _change_words(rng: random.Random, text: str) -> str:
    """Change one or two words at the start or end, where few shingles contain them."""
    changes = rng.sample(("before", "after", "last", "first"), rng.choice((1, 2)))
    lines = text.split("\n")
    if "before" in changes:
        lines[0] = f"{rng.choice(noise_texts.PREFIXES)} {lines[0]}"
    if "first" in changes:
        _, _, rest = lines[0].partition(" ")
        lines[0] = f"{rng.choice(noise_texts.FIRST_WORDS)} {rest}"
    if "last" in changes:
        rest, _, _ = lines[-1].rpartition(" ")
        lines[-1] = f"{rest} {rng.choice(noise_texts.LAST_WORDS)}."
    if "after" in changes:
        lines[-1] = f"{lines[-1]} {rng.choice(noise_texts.SUFFIXES)}"
    return "\n".join(lines)


def near_duplicate(rng: random.Random, text: str) -> str:
    """Return the text with a few words changed: similarity from 0.85 to below 1."""
    while True:
        changed = _change_words(rng, text)
        if shingles(changed) != shingles(text) and similarity(changed, text) >= MIN_SIMILARITY:
            return changed


def wrap_html(rng: random.Random, title: str, paragraphs: tuple[str, ...]) -> str:
    """Return an HTML page: paragraphs inside scripts, navigation, cookie banner and footer."""
    targets = rng.sample(noise_texts.NAV, 5)
    links = "".join(f'<li><a href="/{w.lower()}">{w}</a></li>' for w in targets)
    article = "\n".join(f"<p>{html.escape(p, quote=False)}</p>" for p in paragraphs)
    main = rng.choice(("article", "main"))
    cookie = f'<div class="cookie-banner">{rng.choice(noise_texts.COOKIES)}</div>'
    side = f'<aside class="sidebar"><ul>{links}</ul></aside>' if rng.random() < 0.4 else ""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
            f"<script>{rng.choice(noise_texts.SCRIPTS)}</script>",
            f"<style>{rng.choice(noise_texts.STYLES)}</style></head>",
            f'<body><nav class="menu"><ul>{links}</ul></nav>',
            cookie,
            f"<{main}>\n{article}\n</{main}>",
            f"{side}<footer>{rng.choice(noise_texts.FOOTERS)}</footer>",
            f"<script>{rng.choice(noise_texts.SCRIPTS)}</script></body></html>",
        )
    )


def contact(rng: random.Random) -> tuple[str, list[str]]:
    """Return a sentence with an invented e-mail address or phone number, and those strings."""
    user = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 7)))
    mail = f"{user}{rng.randint(1, 99)}@{rng.choice(noise_texts.MAIL_HOSTS)}"
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
    """Return text without content: random letters, symbols, a repeated line, or numbers."""
    kind = rng.choice(("letters", "symbols", "spam", "numbers"))
    if kind == "letters":
        return " ".join(_noise_word(rng) for _ in range(rng.randint(25, 50)))
    if kind == "symbols":
        words = (_noise_word(rng) for _ in range(20))
        return " ".join(f"{''.join(rng.choices('#$%*{}|<>~^', k=3))} {w} ..." for w in words)
    if kind == "spam":
        return "\n".join([rng.choice(noise_texts.SPAM)] * rng.randint(6, 10))
    rows = (" ".join(str(rng.randint(0, 99999)) for _ in range(6)) for _ in range(6))
    return "\n".join(rows)


def foreign(rng: random.Random) -> str:
    """Return a short text in German, Spanish or French."""
    sentences = noise_texts.FOREIGN[rng.choice(tuple(noise_texts.FOREIGN))]
    return " ".join(rng.sample(sentences, 5))
