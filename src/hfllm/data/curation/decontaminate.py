"""Decontamination: drop examples that share word n-grams with held-out tests.

Method of GPT-3 (Brown et al. 2020, appendix C). A test is its question and its answer. A document
is contaminated if it shares `ngram` consecutive words with either; a shorter question must occur
whole. An answer is looked for only if it has at least twice that many words, as a worked solution:
a short one ("a baker", "g-a-r-d-e-n-e-r") occurs by chance. Signs of arithmetic are words, so
"37 - 45" does not match "37 + 45". Case and Unicode form are ignored (words.py).

In scripts without spaces a character is a word, and two (Chinese, Japanese) or four of them (Thai
and its like) count as one here. A question of fewer than three words is looked for sign by sign, as
"12*7?" is, if it has an operator between two numbers and at least four signs; "2-10", which may be
pages or a date, only where a text asks or answers it ("2-10 =", "2-10?"). What is shorter ("Why?")
would be found in half of all texts: it is not looked for; the number of such tests is printed and
in the ledger, beside the sums.

Documents, conversations, pairs and prompts are searched; all but documents text by text and with 13
words (GPT-3's number), because instructions share phrases ("Classify each of the following as").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hfllm.data.curation.document import Document
from hfllm.data.curation.index_of_tests import TestIndex, strings
from hfllm.data.ledger import Drop, Example, Ledger
from hfllm.data.reading.account import account_lines
from hfllm.data.reading.examples import label, read_rows
from hfllm.data.reading.files import Resolve
from hfllm.recipe.config import SourceConfig
from hfllm.runs.processes import is_main_process

UNSEARCHED = "unsearched:too_short"
NGRAM = 13  # of conversations, pairs and prompts


class Decontaminate:
    """The block: drop a document that contains a test."""

    def __init__(self, tests: TestIndex) -> None:
        """Search documents for the tests of this index."""
        self.tests = tests

    def __call__(self, document: Document) -> Drop | None:
        """Drop("contamination", the test's id), or None."""
        found = self.tests.find(document.text, document.ids)
        return Drop("contamination", found) if found else None


def drop_contaminated(
    examples: Iterable[Example], tests: TestIndex | None, ledger: Ledger, keys: tuple[str, ...]
) -> Iterator[Example]:
    """Yield the examples without a test in any text; drop the others in the ledger.

    Args:
        examples: conversations, pairs, prompts or documents, as the readers yield them.
        tests: of `read_tests`; None keeps every example.
        ledger: gets "contamination" for each dropped example.
        keys: columns of texts or messages that are searched where an example has them, each text
            for itself.
    """
    for example in examples:
        texts = (text for key in keys if key in example for text in strings(example[key]))
        if tests and any(tests.find(text) for text in texts):
            ledger.drop(example, "contamination")
        else:
            yield example


def read_tests(
    sources: Sequence[SourceConfig] | None,
    resolve: Resolve,
    ngram: int,
    ledger: Ledger | None = None,
) -> TestIndex | None:
    """The index of the test rows of `sources`; None without sources.

    What is left out of them is printed: it is searched for no more.

    Args:
        sources: held-out tests.
        resolve: name of a step -> its data folder.
        ngram: consecutive words that must match.
        ledger: gets the number of tests that cannot be looked for, which is printed too; None:
            they are said already.
    """
    if not sources:
        return None
    tests = TestIndex(ngram)
    for source in sources:
        asked, before = tests.asked, len(tests.unsearched)
        read = Ledger()
        tests.add(_kept(read_rows(source, resolve, read), read), label(source))
        if ledger is None:
            continue
        for line in account_lines(read, [source]) if is_main_process() else ():
            print(f"  decontaminate: {line}", flush=True)
        if unsearched := tests.unsearched[before:]:
            ledger.note(label(source), UNSEARCHED, rows=len(unsearched))
            _say_unsearched(label(source), unsearched, tests.asked - asked)
    return tests


def _kept(rows: Iterable[Example], ledger: Ledger) -> Iterator[Example]:
    for row in rows:
        ledger.expect(row)
        ledger.keep(row)
        yield row


def _say_unsearched(name: str, tests: list[str], asked: int) -> None:
    shown = ", ".join(tests[:3]) + (", ..." if len(tests) > 3 else "")
    if is_main_process():
        print(
            f"  decontaminate: {name}: {len(tests):,} of {asked:,} tests could not be looked for: "
            f"their questions are too short or missing ({shown})",
            flush=True,
        )
