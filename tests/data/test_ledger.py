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
    ledger, one = Ledger(), example("four")
    for _ in range(3):
        ledger.expect(one)
    ledger.keep(one, tokens=2)
    ledger.drop(one, "short", tokens=3)
    ledger.keep(one, tokens=5)
    ledger.change(one, "truncated", tokens=7, bytes=-1)
    ledger.skip("web", "where", bytes=9)
    assert counts(ledger) == {
        "in": (4, 17, 20),
        "kept": (2, 7, 8),
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
    with pytest.raises(ValueError, match="1 examples were counted more than once"):
        ledger.check()


def test_every_part_of_a_split_example_must_be_counted():
    ledger, one = Ledger(), example("a b c")
    ledger.expect(one)
    ledger.split(one, 3)
    for part in "abc":
        with pytest.raises(ValueError, match="counted never"):
            ledger.check()
        ledger.keep(example(part))
    ledger.check()
    assert counts(ledger)["in"] == (3, 0, 3)


def test_sums_that_do_not_hold_are_found():
    ledger = Ledger()
    ledger.add("web", "in", documents=2, bytes=3)
    ledger.add("web", "kept", documents=2, bytes=2)
    with pytest.raises(ValueError, match="3 bytes in, but kept . dropped . changed = 2"):
        ledger.check()
