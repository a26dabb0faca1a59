"""Token by token to text: whole characters only, and nothing that a stop string may begin.

The pieces joined are the text of all tokens before the first stop string. Decoding looks back a few
tokens, because some tokenizers write a token otherwise at the beginning of a text (SentencePiece's
space); the cost of a token does not grow with the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

LOOK_BACK = 16  # tokens
REPLACEMENT = "\ufffd"  # what an unfinished character is decoded to


class TextStream:
    """The text of one answer as its tokens come.

    Args:
        tokenizer: the model's.
        stops: strings that end the answer; they are not part of it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = ()) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.ids: list[int] = []
        self.begin = self.settled = 0  # ids[begin:settled] are decoded again as the context
        self.held = ""  # decoded, and perhaps the beginning of a stop string
        self.stopped = False  # by a stop string

    def push(self, token: int) -> str:
        """Take one more token; returns the text that is sure by now."""
        self.ids.append(token)
        text = self._decode(self.begin)
        return "" if text.endswith(REPLACEMENT) else self._settle(text)

    def finish(self) -> str:
        """The rest, when no token follows."""
        piece = "" if self.stopped else self._settle(self._decode(self.begin))
        rest, self.held = self.held, ""
        return piece + ("" if self.stopped else rest)

    def _decode(self, begin: int, end: int | None = None) -> str:
        return str(self.tokenizer.decode(self.ids[begin:end], skip_special_tokens=True))

    def _settle(self, text: str) -> str:
        """`text` is that of ids[begin:]; take what is new, return what no stop string begins in."""
        self.held += text[len(self._decode(self.begin, self.settled)) :]
        self.settled = len(self.ids)
        self.begin = max(0, self.settled - LOOK_BACK)
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self.held[: min(found)]
        sure = len(self.held) - max((_overlap(self.held, stop) for stop in self.stops), default=0)
        piece, self.held = self.held[:sure], self.held[sure:]
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
