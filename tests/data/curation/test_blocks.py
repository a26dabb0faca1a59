"""Curation blocks: what `decide` does with Drop, Change and None, and what the ledger counts."""

import pytest

from hfllm.data.curation.curate import decide
from hfllm.data.curation.document import Change, Document
from hfllm.data.curation.extract import extract
from hfllm.data.curation.holdout import Holdout
from hfllm.data.curation.pii import ReplacePII
from hfllm.data.ledger import Drop, Example, Ledger


def document(**columns) -> Document:
    return Document(Example({"id": "1", "source": "web", **columns}))


def decided(document: Document, *blocks) -> tuple[Drop | None, Ledger]:
    ledger = Ledger()
    ledger.expect(document.example)
    drop = decide(document, list(blocks), ledger)
    ledger.check()
    return drop, ledger


def test_the_first_drop_ends_it():
    def never(_):
        raise AssertionError("no block is asked after a drop")

    drop, ledger = decided(document(text="é"), lambda _: Drop("dull", "like no. 3"), never)
    assert drop == Drop("dull", "like no. 3")
    assert ledger.reasons("bytes") == {"dull": 2}


def test_a_change_is_what_the_next_block_sees():
    seen = []
    one = document(text="one two three")
    assert one.words == ["one", "two", "three"]

    def note(it):
        seen.extend([it.words, len(it.ids)])

    drop, ledger = decided(one, lambda it: Change("one two", "cut"), note)
    assert drop is None and seen == [["one", "two"], 2]
    assert (ledger.total("in", "bytes"), ledger.total("changed:cut", "bytes")) == (13, 6)
    assert ledger.total("kept", "bytes") == 7


def test_what_a_change_takes_is_counted_when_the_rest_is_dropped():
    page = document(html="<html><body><main><p>Ada bakes.</p></main></body></html>")
    drop, ledger = decided(page, extract, lambda _: Drop("short"))
    assert drop == Drop("short")
    assert ledger.total("changed:boilerplate", "bytes") == ledger.total("in", "bytes") - 10
    assert ledger.total("dropped", "bytes") == 10


def test_a_page_without_text_keeps_its_html_to_be_looked_at():
    page = document(html="<html><body><nav>Home</nav></body></html>")
    assert decided(page, extract)[0] == Drop("no_text")
    assert page.text == page.example["html"]


def test_addresses_are_replaced_and_counted():
    pii, mail = ReplacePII(), document(text="Ask ada@mill.org.")
    drop, ledger = decided(mail, pii)
    assert drop is None and mail.text == "Ask <email>."
    assert pii.replaced == {"email": 1} and ledger.total("changed:pii", "bytes") == 5
    assert pii(document(text="Ask Ada.")) is None


@pytest.mark.parametrize("by_title", [False, True])
def test_who_is_held_out_hangs_on_its_own_key_alone(by_title):
    block = Holdout(0.5, by_title)
    ids = [f"book-{i // 2}#{i % 2}" for i in range(400)]
    held = [block(Document(Example({"id": i, "source": "s", "text": "a"}))) for i in ids]
    assert 150 < sum(map(bool, held)) < 250
    assert (held[::2] == held[1::2]) == by_title
