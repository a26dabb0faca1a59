"""Documents: shares of noise, their truth labels, facts on clean pages."""

import re
from collections import Counter, defaultdict

from hfllm.evaluation.graders import mentions
from hfllm.world import noise
from hfllm.world.documents import NOISE_SHARES
from hfllm.world.values import FACT_VALUES, FACTS


def _kept(files):
    return [row for row in files.rows("web.jsonl") if row["truth"]["verdict"] == "keep"]


def _text(row):
    return row["truth"]["main_text"] or row["text"]


def _facts(files):
    return {row["id"]: row["facts"] for row in files.rows("people.jsonl")}


def test_about_a_quarter_is_noise(world_files):
    rows = world_files.rows("web.jsonl")
    reasons = Counter(row["truth"]["reason"] for row in rows)
    dropped = sum(n for reason, n in reasons.items() if reason)
    assert {r: reasons[r] for r in NOISE_SHARES} == {
        r: round(share * len(rows)) for r, share in NOISE_SHARES.items()
    }
    with_contact = sum(bool(row["truth"]["pii"]) for row in _kept(world_files))
    assert 0.20 <= (dropped + with_contact) / len(rows) <= 0.30
    assert all(
        (row["truth"]["reason"] is None) == (row["truth"]["verdict"] == "keep") for row in rows
    )


def test_pages_about_one_person_tell_the_truth_and_nothing_else(world_files):
    facts = _facts(world_files)
    for row in _kept(world_files):
        if row["source"] in ("encyclopedia", "stories"):
            (person,) = row["people"]
            for fact in FACTS:
                told = {v for v in FACT_VALUES[fact] if mentions(_text(row), v)}
                assert told <= {facts[person][fact]}, row


def test_questions_on_pages_are_answered_rightly(world_files):
    facts = _facts(world_files)
    for row in _kept(world_files):
        if row["source"] == "faq":
            answers = re.findall(r"Answer: (.*)", row["text"])
            for person, answer in zip(row["people"], answers, strict=True):
                told = {
                    (fact, v) for fact in FACTS for v in FACT_VALUES[fact] if mentions(answer, v)
                }
                assert told and told <= set(facts[person].items())


def test_every_fact_is_met_often_and_in_many_contexts(world_files):
    facts = _facts(world_files)
    contexts = defaultdict(list)
    for row in _kept(world_files):
        if row["source"] in ("encyclopedia", "stories"):
            (person,) = row["people"]
            for sentence in re.split(r"(?<=\.)\s", _text(row)):
                for fact, value in facts[person].items():
                    if mentions(sentence, value):
                        pattern = sentence.replace(person, "NAME")
                        contexts[person, fact].append(re.sub(r"\b([Ss]?[Hh]e)\b", "NAME", pattern))
    known = [name for name, values in facts.items() if values]
    assert len(contexts) == len(known) * len(FACTS)
    counts = [len(c) for c in contexts.values()]
    assert min(counts) >= 25 and sum(counts) / len(counts) >= 38
    assert min(len(set(c)) for c in contexts.values()) >= 8


def test_copies_follow_their_originals(world_files):
    place = {row["id"]: i for i, row in enumerate(world_files.rows("web.jsonl"))}
    by_id = {row["id"]: row for row in world_files.rows("web.jsonl")}
    for row in by_id.values():
        if (first := row["truth"]["duplicate_of"]) is None:
            continue
        original = by_id[first]
        assert place[first] < place[row["id"]]
        assert original["truth"]["verdict"] == "keep"
        if row["truth"]["reason"] == "exact_duplicate":
            assert _text(row) == _text(original)
        else:
            assert _text(row) != _text(original)
            assert noise.similarity(_text(row), _text(original)) >= noise.MIN_SIMILARITY


def test_honest_pages_about_one_person_are_far_from_duplicates(world_files):
    groups = defaultdict(list)
    for row in _kept(world_files):
        groups[row["people"][0] if row["people"] else row["source"]].append(_text(row))
    most, over, pairs = 0.0, 0, 0
    for texts in groups.values():
        sets = [noise.shingles(text) for text in texts[:30]]
        for i, a in enumerate(sets):
            for b in sets[:i]:
                shared = len(a & b) / len(a | b)
                most, over, pairs = max(most, shared), over + (shared > 0.3), pairs + 1
    assert most < 0.5  # MinHash looks for 0.8
    assert over / pairs < 0.001


def test_html_holds_the_main_text_and_boilerplate(world_files):
    rows = [row for row in _kept(world_files) if "html" in row]
    prose = [row for row in _kept(world_files) if row["source"] in ("encyclopedia", "stories")]
    assert 0.3 < len(rows) / len(prose) < 0.4
    for row in rows:
        assert "text" not in row
        assert "<nav" in row["html"] and "cookie" in row["html"] and "<footer" in row["html"]
        paragraphs = re.findall(r"<p>(.*?)</p>", row["html"])
        assert "\n".join(paragraphs) == row["truth"]["main_text"]


def test_pii_strings_stand_in_the_text(world_files):
    rows = [row for row in _kept(world_files) if row["truth"]["pii"]]
    assert len(rows) > 100
    for row in rows:
        assert all(string in _text(row) for string in row["truth"]["pii"])
    others = "\n".join(_text(row) for row in _kept(world_files) if not row["truth"]["pii"])
    assert "@" not in others and "555" not in others


def test_honest_pages_pass_the_usual_word_filters(world_files):
    common = {"the", "be", "to", "of", "and", "that", "have", "with"}
    for row in _kept(world_files) + world_files.rows("heldout_text.jsonl"):
        text = _text(row) if "truth" in row else row["text"]
        words = text.split()
        assert sum(any(c.isalpha() for c in w) for w in words) / len(words) >= 0.6, row
        assert len(common & set(re.findall(r"\w+", text.lower()))) >= 2, row


def test_heldout_text_is_new_and_of_every_clean_kind(world_files):
    heldout = world_files.rows("heldout_text.jsonl")
    taken = {_text(row) for row in _kept(world_files)}
    assert not [row for row in heldout if row["text"] in taken]
    kinds = {row["source"] for row in heldout}
    assert kinds == {"encyclopedia", "stories", "faq", "arithmetic", "letters"}
