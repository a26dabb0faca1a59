"""The ledger: every example is kept or dropped once, the sums hold, and `check` can fail."""

import pytest

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.examples import read_documents
from hfllm.recipe.config import SourceConfig
from tiny import documents, write_jsonl


def example(text: str) -> Example:
    return Example({"id": "1", "source": "web", "text": text}, "web.jsonl:1")


def counts(ledger: Ledger) -> dict[str, tuple[int, int, int]]:
    return {bucket: tuple(row.values()) for (_, bucket), row in ledger.rows.items()}


def test_an_example_carries_its_source_place_and_bytes():
    one = example("é")
    assert (one.source, one.place, one.bytes) == ("web", "web.jsonl:1", 2)
    assert one == {"id": "1", "source": "web", "text": "é"}
    assert type(one | {}) is dict


def test_every_call_counts_in_and_its_bucket():
    ledger, one, two, three = Ledger(), *(example("four") for _ in range(3))
    for each in (one, two, three):
        ledger.expect(each)
    ledger.keep(one, tokens=2)
    ledger.drop(two, "short", tokens=3)
    three["text"] = "fours"
    ledger.change(three, "truncated", tokens=7, bytes=-1)
    ledger.keep(three, tokens=5)
    ledger.skip("web", "where", bytes=9)
    assert counts(ledger) == {
        "in": (4, 17, 21),
        "kept": (2, 7, 9),
        "dropped:short": (1, 3, 4),
        "changed:truncated": (0, 7, -1),
        "dropped:where": (1, 0, 9),
    }
    ledger.check()
    again = Ledger.from_json(ledger.to_json())
    again.check()
    assert counts(again) == counts(ledger)
    assert ledger.reasons() == ledger.reasons(source="web") == {"short": 1, "where": 1}
    assert ledger.reasons(source="books") == {}


def test_an_example_that_is_neither_kept_nor_dropped_is_found(tmp_path):
    path = write_jsonl(tmp_path / "web.jsonl", documents(5))
    ledger = Ledger()
    for row in read_documents([SourceConfig(path=str(path))], lambda step: tmp_path, ledger):
        if row["id"] != "d3":  # a consumer that forgets one
            ledger.keep(row)
    with pytest.raises(ValueError, match="ledger of 'web': 1 examples were counted never"):
        ledger.check()
    with pytest.raises(ValueError, match="1 examples were counted never"):
        ledger.to_json()  # so that no manifest gets it
    whole = Ledger()
    whole.merge(ledger)
    with pytest.raises(ValueError, match="1 examples were counted never"):
        whole.check()


def test_an_example_that_is_counted_twice_is_found():
    ledger, one = Ledger(), example("a")
    ledger.expect(one)
    ledger.keep(one)
    ledger.check()
    ledger.drop(one, "short")
    with pytest.raises(ValueError, match="web.jsonl:1 was counted more than once"):
        ledger.check()


def test_every_part_of_a_split_example_must_be_counted():
    ledger, one = Ledger(), example("a b c")
    ledger.expect(one)
    ledger.split(one, 3)
    for part in "abc":
        with pytest.raises(ValueError, match="counted never"):
            ledger.check()
        ledger.keep(one.part(text=part))
    ledger.check()
    assert counts(ledger)["in"] == (3, 0, 3)


def test_sums_that_do_not_hold_are_found():
    ledger = Ledger()
    ledger.add("web", "in", documents=2, bytes=3)
    ledger.add("web", "kept", documents=2, bytes=2)
    with pytest.raises(ValueError, match="3 bytes in, but kept . dropped . changed = 2"):
        ledger.check()


def test_one_forgotten_and_one_counted_twice_do_not_cancel():
    ledger, one, two = Ledger(), example("a"), example("a")
    for each in (one, two):
        ledger.expect(each)
    ledger.keep(one)
    ledger.keep(one)
    with pytest.raises(ValueError, match="1 examples were counted never, the first web.jsonl:1"):
        ledger.check()


def test_text_that_is_emptied_without_a_change_is_found():
    for said in (0, 4):
        ledger, one = Ledger(), example("four")
        ledger.expect(one)
        one["text"] = ""
        if said:
            ledger.change(one, "boilerplate", bytes=4)
        ledger.keep(one)
        if said:
            ledger.check()
            continue
        with pytest.raises(ValueError, match="web.jsonl:1: 4 bytes are gone without a change"):
            ledger.check()


def test_what_is_not_read_is_noted_beside_the_sums():
    ledger = Ledger()
    for file in ("a.jsonl", "a.jsonl", "b.jsonl"):
        ledger.note("web", "unread:lang", file)
    ledger.check()
    again = Ledger.from_json(ledger.to_json())
    assert again.notes == {("web", "unread:lang"): {"a.jsonl": 2, "b.jsonl": 1}}
    assert again.rows == {} and ledger.total("in") == 0
    again.merge(ledger)
    assert again.notes["web", "unread:lang"] == {"a.jsonl": 4, "b.jsonl": 2}
