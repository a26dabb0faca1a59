"""Compare a curator's decisions with the truth, where the rows know it (the small world's do).

`truth` is {"verdict": "keep" or "drop", "reason", "pii": [strings], "main_text"}. Two views: of
what a filter dropped, how much was rightly dropped (precision, by the curator's reason); of what
ought to go for a reason, how much went, whatever for (recall, by the truth's reason). Besides: how
many planted addresses are gone from kept texts, and how good the words of extracted pages are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from hfllm.data.curation.pii import replace_pii
from hfllm.data.curation.words import split_words
from hfllm.data.ledger import Row

SHOWN_MISTAKES = 10  # of each kind
SHOWN_CHARS = 200
NOT_JUDGED = "heldout"  # a kept document that went to another file


def known_truth(row: Row) -> Row | None:
    """The row's truth, where its `truth` column is one and not something of the user's."""
    truth = row.get("truth")
    return truth if isinstance(truth, dict) and "verdict" in truth else None


class Audit:
    """Counts of right and wrong decisions; empty where no row has a truth."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.decided: Counter[tuple[str, str]] = Counter()  # (curator's reason, truth's reason)
        self.mistakes: dict[str, list[Row]] = defaultdict(list)
        self.pii: Counter[str] = Counter()
        self.words: Counter[str] = Counter()

    def add(self, row: Row, text: str, reason: str | None) -> None:
        """Take in one decision (reason None: kept), with the text as it was decided on."""
        truth = known_truth(row)
        if truth is None:
            return
        ours = "keep" if reason in (None, NOT_JUDGED) else str(reason)
        theirs = "keep" if truth["verdict"] == "keep" else truth["reason"] or "drop"
        self.decided[ours, theirs] += 1
        if (ours == "keep") != (theirs == "keep"):
            self._note(row, text, ours, theirs)
        if ours == "keep":
            self._add_pii(row, text, truth.get("pii") or [])
        if truth.get("main_text") and ours == "keep":
            self._add_words(text, row, truth)

    def _note(self, row: Row, text: str, ours: str, theirs: str) -> None:
        kind = "wrongly_kept" if ours == "keep" else "wrongly_dropped"
        if len(self.mistakes[kind]) < SHOWN_MISTAKES:
            note = {"id": row["id"], "curator": ours, "truth": theirs, "text": text[:SHOWN_CHARS]}
            self.mistakes[kind].append(note)

    def _add_pii(self, row: Row, text: str, planted: list[str]) -> None:
        left = sum(string in text for string in planted)
        placeholders = sum(text.count(name) for name in ("<email>", "<phone>", "<ip>"))
        self.pii.update(planted=len(planted), left=left, placeholders=placeholders)

    def _add_words(self, text: str, row: Row, truth: Row) -> None:
        found = Counter(split_words(text))
        main_text, _ = replace_pii(truth["main_text"])  # a placeholder in both is no error
        wanted = Counter(split_words(main_text))
        both = sum((found & wanted).values())
        self.words.update(found=found.total(), wanted=wanted.total(), both=both)

    def to_json(self) -> dict[str, Any] | None:
        """The report, or None where there was no truth to compare with."""
        if not self.decided:
            return None
        dropped, ought = self._table(0), self._table(1)
        went, right = sum(dropped.values(), Counter()), self._right()
        needed = sum(ought.values(), Counter())
        return {
            "overall": {
                "documents": sum(self.decided.values()),
                "precision": _ratio(right, went.total()),
                "recall": _ratio(right, needed.total()),
            },
            "by_filter": {
                name: {
                    "dropped": row.total(),
                    "precision": _ratio(row.total() - row["keep"], row.total()),
                    "truth": dict(row.most_common()),
                }
                for name, row in sorted(dropped.items())
            },
            "by_truth": {
                name: {
                    "documents": row.total(),
                    "recall": _ratio(row.total() - row["keep"], row.total()),
                    "curator": dict(row.most_common()),
                }
                for name, row in sorted(ought.items())
            },
            "pii": self._pii_report(),
            "extraction": self._extraction_report(),
            "mistakes": dict(self.mistakes),
        }

    def _table(self, side: int) -> dict[str, Counter[str]]:
        """{reason of one side (0 curator, 1 truth), "keep" left out: counts of the other's}."""
        table: dict[str, Counter[str]] = defaultdict(Counter)
        for pair, count in self.decided.items():
            if pair[side] != "keep":
                table[pair[side]][pair[1 - side]] += count
        return table

    def _right(self) -> int:
        return sum(count for pair, count in self.decided.items() if "keep" not in pair)

    def _pii_report(self) -> dict[str, Any]:
        planted, removed = self.pii["planted"], self.pii["planted"] - self.pii["left"]
        precision = _ratio(min(removed, self.pii["placeholders"]), self.pii["placeholders"])
        return {"planted": planted, "recall": _ratio(removed, planted), "precision": precision}

    def _extraction_report(self) -> dict[str, Any]:
        precision = _ratio(self.words["both"], self.words["found"])
        return {
            "words": self.words["wanted"],
            "precision": precision,
            "recall": _ratio(self.words["both"], self.words["wanted"]),
        }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
