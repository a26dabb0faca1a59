"""Precision and recall of curation against labelled documents (those of the small world).

The label is the column `truth`: {"verdict": "keep" or "drop", "reason", "pii": [strings],
"main_text"}. Precision is counted by the curator's reason: of the documents that a filter dropped,
the share with the verdict "drop". Recall is counted by the label's reason: of the documents that
should be dropped for it, the share dropped for any reason. Besides: the share of planted addresses
removed from kept texts, and precision and recall of the words of extracted pages.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from hfllm.data.curation.pii import replace_pii
from hfllm.data.curation.words import split_words

SHOWN_MISTAKES = 10  # of each kind
SHOWN_CHARS = 200
NOT_JUDGED = "heldout"  # a kept document that went to another file


def known_truth(example: dict[str, Any]) -> dict[str, Any] | None:
    """The label of an example; None without one (a user's own column `truth` is no label)."""
    truth = example.get("truth")
    return truth if isinstance(truth, dict) and "verdict" in truth else None


class Audit:
    """Counts of right and wrong decisions; empty where no example has a label."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.decided: Counter[tuple[str, str]] = Counter()  # (curator's reason, truth's reason)
        self.mistakes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.pii: Counter[str] = Counter()
        self.words: Counter[str] = Counter()

    def add(self, example: dict[str, Any], text: str, reason: str | None) -> None:
        """Count one decision.

        Args:
            example: the document as it was read; without a label it is not counted.
            text: its text after the blocks that ran.
            reason: why it was dropped; None: kept.
        """
        truth = known_truth(example)
        if truth is None:
            return
        decided = "keep" if reason in (None, NOT_JUDGED) else str(reason)
        expected = "keep" if truth["verdict"] == "keep" else truth["reason"] or "drop"
        self.decided[decided, expected] += 1
        if (decided == "keep") != (expected == "keep"):
            self._add_mistake(example, text, decided, expected)
        if decided == "keep":
            self._add_pii(text, truth.get("pii") or [])
        if truth.get("main_text") and decided == "keep":
            self._add_words(text, truth)

    def _add_mistake(self, example: dict[str, Any], text: str, decided: str, expected: str) -> None:
        kind = "wrongly_kept" if decided == "keep" else "wrongly_dropped"
        if len(self.mistakes[kind]) < SHOWN_MISTAKES:
            shown = {"curator": decided, "truth": expected, "text": text[:SHOWN_CHARS]}
            self.mistakes[kind].append({"id": example["id"], **shown})

    def _add_pii(self, text: str, planted: list[str]) -> None:
        left = sum(string in text for string in planted)
        placeholders = sum(text.count(name) for name in ("<email>", "<phone>", "<ip>"))
        self.pii.update(planted=len(planted), left=left, placeholders=placeholders)

    def _add_words(self, text: str, truth: dict[str, Any]) -> None:
        found = Counter(split_words(text))
        main_text, _ = replace_pii(truth["main_text"])  # a placeholder in both is no error
        wanted = Counter(split_words(main_text))
        both = sum((found & wanted).values())
        self.words.update(found=found.total(), wanted=wanted.total(), both=both)

    def to_json(self) -> dict[str, Any] | None:
        """The report; None if no example had a label."""
        if not self.decided:
            return None
        dropped, to_drop = self._table(0), self._table(1)
        all_dropped, right = sum(dropped.values(), Counter()), self._right()
        all_to_drop = sum(to_drop.values(), Counter())
        return {
            "overall": {
                "documents": sum(self.decided.values()),
                "precision": _ratio(right, all_dropped.total()),
                "recall": _ratio(right, all_to_drop.total()),
            },
            "by_filter": {
                reason: {
                    "dropped": counts.total(),
                    "precision": _ratio(counts.total() - counts["keep"], counts.total()),
                    "truth": dict(counts.most_common()),
                }
                for reason, counts in sorted(dropped.items())
            },
            "by_truth": {
                reason: {
                    "documents": counts.total(),
                    "recall": _ratio(counts.total() - counts["keep"], counts.total()),
                    "curator": dict(counts.most_common()),
                }
                for reason, counts in sorted(to_drop.items())
            },
            "pii": self._pii_report(),
            "extraction": self._extraction_report(),
            "mistakes": dict(self.mistakes),
        }

    def _table(self, side: int) -> dict[str, Counter[str]]:
        """{reason of one side (0: curator, 1: label), without "keep": counts of the other's}."""
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
