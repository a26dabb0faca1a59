"""The web of the small world, with the truth about every document.

Clean pages are written first; then the mess is added: HTML around a third of the encyclopedia and
story pages, contact data in some, copies, near copies, gibberish, other languages, leaked test
questions. Copies stand after their originals, so that "keep the first" is the right rule. `truth`
says what a curator should do with the row, and why.
"""

from __future__ import annotations

import random
from typing import Any

from hfllm.world import mess, pages
from hfllm.world.pages import Page
from hfllm.world.people import World

Row = dict[str, Any]

# Share of all documents that ought to be dropped, by reason.
MESS_SHARES = {
    "exact_duplicate": 0.06,
    "near_duplicate": 0.06,
    "gibberish": 0.04,
    "language": 0.04,
    "contamination": 0.02,
}
HTML_SHARE = 0.35  # of the encyclopedia and story pages
CONTACT_SHARE = 0.06  # of the encyclopedia and story pages
MIN_NEAR_WORDS = 40  # in shorter pages one changed word breaks the similarity


def _truth(verdict: str, reason: str | None = None, **columns: Any) -> Row:
    truth: Row = {"verdict": verdict, "reason": reason, "pii": [], "main_text": None}
    return truth | {"duplicate_of": None} | columns


def _payload(rng: random.Random, page: Page, as_html: bool) -> Row:
    """Return {"text"} or {"html"}."""
    if not as_html:
        return {"text": page.text}
    title = page.people[0] if page.people else page.source
    return {"html": mess.wrap_html(rng, title, page.paragraphs)}


def _clean(rng: random.Random, page: Page) -> Row:
    """Turn a page into a row to keep: perhaps as HTML, perhaps with contact data."""
    prose = page.source in ("encyclopedia", "stories")
    pii: list[str] = []
    if prose and rng.random() < CONTACT_SHARE:
        sentence, pii = mess.contact(rng)
        last = f"{page.paragraphs[-1]} {sentence}"
        page = Page(page.source, (*page.paragraphs[:-1], last), page.people)
    as_html = prose and rng.random() < HTML_SHARE
    truth = _truth("keep", pii=pii, main_text=page.text if as_html else None)
    row = {"source": page.source} | _payload(rng, page, as_html)
    return row | {"people": list(page.people), "truth": truth}


def _copy(rng: random.Random, row: Row, near: bool) -> Row:
    """Copy a kept row as it is, or (text only) with a few words changed."""
    copy = dict(row)
    reason = "near_duplicate" if near else "exact_duplicate"
    if near:
        copy["text"] = mess.near_duplicate(rng, row["text"])
    columns = {"pii": row["truth"]["pii"], "main_text": row["truth"]["main_text"]}
    copy["truth"] = _truth("drop", reason, **columns)
    return copy


def _leak(rng: random.Random, tests: list[Row]) -> Row:
    """Return a page that repeats test questions and their answers word for word."""
    leaked = rng.sample(tests, min(3, len(tests)))
    lines = [f"{row['plain']} {row['answer']}" for row in leaked]
    text = "\n".join(["Someone has put the questions of the test on the web.", *lines])
    people = [row["person"] for row in leaked]
    truth = _truth("drop", "contamination")
    return {"source": "web", "text": text, "people": people, "truth": truth}


def _junk(rng: random.Random, reason: str) -> Row:
    text = mess.gibberish(rng) if reason == "gibberish" else mess.foreign(rng)
    return {"source": "web", "text": text, "people": [], "truth": _truth("drop", reason)}


def _place(rng: random.Random, originals: list[Row], counts: dict[str, int]) -> list[Row]:
    """Add the copies, each at a random place after its original; return rows in file order."""
    placed = [(rng.random(), row) for row in originals]
    kept = [pair for pair in placed if pair[1]["truth"]["verdict"] == "keep"]
    texts = [p for p in kept if "text" in p[1] and len(p[1]["text"].split()) >= MIN_NEAR_WORDS]
    for reason, pool in (("exact_duplicate", kept), ("near_duplicate", texts)):
        for place, row in rng.sample(pool, min(counts[reason], len(pool))):
            copy = _copy(rng, row, near=reason == "near_duplicate")
            copy["original"] = row
            placed.append((rng.uniform(place, 1.0), copy))
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def _number(rows: list[Row]) -> list[Row]:
    """Give ids in file order and name the original of every copy."""
    for i, row in enumerate(rows):
        row["id"] = f"web-{i:06d}"
    for row in rows:
        if original := row.pop("original", None):
            row["truth"]["duplicate_of"] = original["id"]
    return [{"id": row.pop("id")} | row for row in rows]


def write_documents(world: World, count: int, tests: list[Row]) -> list[Row]:
    """Return `count` documents in file order; `tests` are the rows that may leak."""
    rng = world.rng("web")
    counts = {reason: round(share * count) for reason, share in MESS_SHARES.items()}
    clean = pages.write_pages(rng, world, count - sum(counts.values()))
    rows = [_clean(rng, page) for page in clean]
    for reason in ("gibberish", "language"):
        rows += [_junk(rng, reason) for _ in range(counts[reason])]
    rows += [_leak(rng, tests) for _ in range(counts["contamination"])]
    return _number(_place(rng, rows, counts))


def write_heldout(world: World, count: int, taken: set[str]) -> list[Row]:
    """Return about `count` clean pages that stand in no training document (`taken`: texts)."""
    written = pages.write_pages(world.rng("heldout"), world, count)
    fresh = [page for page in written if page.text not in taken]
    return [
        {"id": f"heldout-{i:04d}", "source": page.source, "text": page.text}
        for i, page in enumerate(fresh)
    ]
