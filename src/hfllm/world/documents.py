"""The web documents of the small world, each with the right curation decision.

Clean pages are written first, then noise is added: HTML around a third of the encyclopedia and
story pages, contact data in some, exact and near duplicates, gibberish, other languages, leaked
test questions. A duplicate comes after its original, so that "keep the first" is the right rule.
The column `truth` holds the right decision ("keep" or "drop"), its reason, and what a curator
should find: PII strings, the main text of HTML, the original of a duplicate.
"""

from __future__ import annotations

import random
from typing import Any

from hfllm.world import noise, pages
from hfllm.world.pages import Page
from hfllm.world.people import World

# Share of all documents that should be dropped, by reason.
NOISE_SHARES = {
    "exact_duplicate": 0.06,
    "near_duplicate": 0.06,
    "gibberish": 0.04,
    "language": 0.04,
    "contamination": 0.02,
}
HTML_SHARE = 0.35  # of the encyclopedia and story pages
CONTACT_SHARE = 0.06  # of the encyclopedia and story pages
# Words of a page that may get a near duplicate: in shorter ones one changed word is too much.
MIN_NEAR_WORDS = 40


def _truth(verdict: str, reason: str | None = None, **columns: Any) -> dict[str, Any]:
    truth: dict[str, Any] = {"verdict": verdict, "reason": reason, "pii": [], "main_text": None}
    return truth | {"duplicate_of": None} | columns


def _content(rng: random.Random, page: Page, as_html: bool) -> dict[str, Any]:
    """Return {"text"} or {"html"}."""
    if not as_html:
        return {"text": page.text}
    title = page.people[0] if page.people else page.source
    return {"html": noise.wrap_html(rng, title, page.paragraphs)}


def _clean(rng: random.Random, page: Page) -> dict[str, Any]:
    """The document of a page that should be kept: some as HTML, some with contact data."""
    prose = page.source in ("encyclopedia", "stories")
    pii: list[str] = []
    if prose and rng.random() < CONTACT_SHARE:
        sentence, pii = noise.contact(rng)
        last = f"{page.paragraphs[-1]} {sentence}"
        page = Page(page.source, (*page.paragraphs[:-1], last), page.people)
    as_html = prose and rng.random() < HTML_SHARE
    truth = _truth("keep", pii=pii, main_text=page.text if as_html else None)
    row = {"source": page.source} | _content(rng, page, as_html)
    return row | {"people": list(page.people), "truth": truth}


def _copy(rng: random.Random, row: dict[str, Any], near: bool) -> dict[str, Any]:
    """An exact duplicate of a kept document, or (text only) a near duplicate."""
    copy = dict(row)
    reason = "near_duplicate" if near else "exact_duplicate"
    if near:
        copy["text"] = noise.near_duplicate(rng, row["text"])
    columns = {"pii": row["truth"]["pii"], "main_text": row["truth"]["main_text"]}
    copy["truth"] = _truth("drop", reason, **columns)
    return copy


def _contaminated(rng: random.Random, tests: list[dict[str, Any]]) -> dict[str, Any]:
    """A page that repeats test questions and their answers word for word."""
    leaked = rng.sample(tests, min(3, len(tests)))
    lines = [f"{row['plain']} {row['answer']}" for row in leaked]
    text = "\n".join(["Someone has put the questions of the test on the web.", *lines])
    people = [row["person"] for row in leaked]
    truth = _truth("drop", "contamination")
    return {"source": "web", "text": text, "people": people, "truth": truth}


def _noise_document(rng: random.Random, reason: str) -> dict[str, Any]:
    text = noise.gibberish(rng) if reason == "gibberish" else noise.foreign(rng)
    return {"source": "web", "text": text, "people": [], "truth": _truth("drop", reason)}


def _add_duplicates(
    rng: random.Random, originals: list[dict[str, Any]], counts: dict[str, int]
) -> list[dict[str, Any]]:
    """Add the duplicates, each at a random place after its original; return all in file order."""
    placed = [(rng.random(), row) for row in originals]
    kept = [pair for pair in placed if pair[1]["truth"]["verdict"] == "keep"]
    texts = [p for p in kept if "text" in p[1] and len(p[1]["text"].split()) >= MIN_NEAR_WORDS]
    for reason, pool in (("exact_duplicate", kept), ("near_duplicate", texts)):
        for place, row in rng.sample(pool, min(counts[reason], len(pool))):
            copy = _copy(rng, row, near=reason == "near_duplicate")
            copy["original"] = row
            placed.append((rng.uniform(place, 1.0), copy))
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def _number(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set ids in file order, and the id of the original in every duplicate."""
    for i, row in enumerate(rows):
        row["id"] = f"web-{i:06d}"
    for row in rows:
        if original := row.pop("original", None):
            row["truth"]["duplicate_of"] = original["id"]
    return [{"id": row.pop("id")} | row for row in rows]


def write_documents(world: World, count: int, tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `count` documents in file order.

    Args:
        world: people and held-out sets.
        count: documents, noise included.
        tests: test rows, some of which leak into documents.
    """
    rng = world.rng("web")
    counts = {reason: round(share * count) for reason, share in NOISE_SHARES.items()}
    clean = pages.write_pages(rng, world, count - sum(counts.values()))
    rows = [_clean(rng, page) for page in clean]
    for reason in ("gibberish", "language"):
        rows += [_noise_document(rng, reason) for _ in range(counts[reason])]
    rows += [_contaminated(rng, tests) for _ in range(counts["contamination"])]
    return _number(_add_duplicates(rng, rows, counts))


def write_heldout(world: World, count: int, taken: set[str]) -> list[dict[str, Any]]:
    """Return at most `count` clean pages for evaluation.

    Args:
        world: people and held-out sets.
        count: pages that are written.
        taken: texts of the training documents; pages that equal one are left out.
    """
    written = pages.write_pages(world.rng("heldout"), world, count)
    fresh = [page for page in written if page.text not in taken]
    return [
        {"id": f"heldout-{i:04d}", "source": page.source, "text": page.text}
        for i, page in enumerate(fresh)
    ]
