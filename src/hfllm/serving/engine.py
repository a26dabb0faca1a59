"""The thread that generates: takes waiting rows into the running batch, one token for each a round.

    engine = Engine(model, stop_ids, limits)
    engine.start()
    engine.submit(rows)                # Full: the queue is full
    engine.close(seconds)              # answers what it has taken on, for so long

Rows join and leave between two tokens (continuous batching) where a trial shows that the model's
cache allows it; for other models those that wait are a batch, decoded in the way that is right for
the model (inference/decoders.py), and the next batch begins when all of it has ended.

First come, first served: a row that does not fit beside the running ones holds up those behind it,
so that no long prompt waits forever. A failure in the model ends the rows of the batch, is printed,
and the next batch is tried.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from hfllm.inference.continuous import RunningRows, rows_can_join
from hfllm.inference.decoders import Way, way_of
from hfllm.inference.logits import vocab_size
from hfllm.inference.prompts import stop_mask
from hfllm.inference.sampling import choose, penalised
from hfllm.modeling.batching import MAX_BATCH_TOKENS, long_first
from hfllm.recipe.errors import first_line
from hfllm.serving.limits import Limits
from hfllm.serving.rows import Piece, Row, TokenScore, scores_of

LAST_TOKEN_SECONDS = 60.0  # for the round that runs when the rest is given up


class Full(Exception):
    """As many answers are generated and wait as the limits allow."""


class Closing(Exception):
    """The server is ending."""


class Engine:
    """Generates the answers of all requests with one model.

    Args:
        model: a causal LM in eval mode.
        stop_ids: tokens that end an answer.
        limits: how many rows run and wait.
    """

    def __init__(self, model: Any, stop_ids: set[int], limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.stops = stop_mask(stop_ids, vocab_size(model)).to(model.device)  # (V,)
        self.way: Way | None = None if rows_can_join(model) else way_of(model)
        self.waiting: deque[Row] = deque()
        self.active: list[Row] = []  # taken off the queue, not yet ended
        self.scores: list[TokenScore | None] = []  # of the last tokens, in the batch's order
        self.closing = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.answered = self.generated = self.most_at_once = 0  # rows, tokens, rows

    def start(self) -> None:
        """Begin to generate."""
        self.thread.start()

    @property
    def alive(self) -> bool:
        """Whether answers can be generated."""
        return self.thread.is_alive()

    def submit(self, rows: Sequence[Row]) -> None:
        """Queue the rows of one request, all or none.

        Raises:
            Full: there is no room for all of them.
            Closing: the server is ending.
        """
        with self.changed:
            if self.closing:
                raise Closing
            taken = len(self.waiting) + len(self.active)
            if taken + len(rows) > self.limits.at_once + self.limits.queue:
                raise Full
            self.waiting.extend(rows)
            self.changed.notify()

    def cancel(self, rows: Sequence[Row]) -> None:
        """Give up the rows: those that wait leave at once, the others after their next token."""
        with self.changed:
            for row in rows:
                row.cancelled = True
            self.waiting = deque(row for row in self.waiting if not row.cancelled)

    def close(self, seconds: float) -> int:
        """Take nothing more on, answer the rest for so long; returns how many were given up."""
        with self.changed:
            self.closing = True
            self.changed.notify()
        self.thread.join(seconds)
        with self.changed:
            left = [row for row in (*self.waiting, *self.active) if not row.cancelled]
            self.waiting.clear()
            for row in left:
                row.cancelled = True
                row.send(Piece(row.index, finish="closing"))
        self.thread.join(LAST_TOKEN_SECONDS)  # torch aborts a process that ends in its middle
        return len(left)

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait_for_rows():
            try:
                if self.way is None:
                    self._continuously()
                else:
                    self._one_batch(self.way)
            except Exception as error:  # noqa: BLE001 - one bad batch must not end the server
                self._failed(error)

    def _wait_for_rows(self) -> bool:
        """Sleep until a row waits; False when the server ends and none does."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closing)
            return bool(self.waiting)

    def _failed(self, error: Exception) -> None:
        traceback.print_exc()
        print(f"a batch of {len(self.active)} failed: {first_line(error)}", file=sys.stderr)
        for row in self.active:
            row.end("failed")
        self.active = []

    def _continuously(self) -> None:
        """Rounds of one token for each running row, until none runs or waits."""
        batch, rows = RunningRows(self.model), list[Row]()
        token = torch.zeros(0)
        while True:
            parts = [batch.step(token)] if rows else []
            for new in self._prefills(self._admit()):
                parts.append(batch.join([row.prompt for row in new]))
                rows += new
            if not parts:
                return
            token = self._next(rows, torch.cat(parts))
            self._take(rows, token)
            stay = [i for i, row in enumerate(rows) if not row.ended]
            index = torch.tensor(stay, dtype=torch.long, device=token.device)
            batch.keep(index)
            token, rows = token[index], [rows[i] for i in stay]

    def _one_batch(self, way: Way) -> None:
        """The rows that wait and fit, until the last of them has ended."""
        rows = self._admit()

        def next_token(index: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return self._next([rows[i] for i in index.tolist()], logits)

        def is_done(index: torch.Tensor, token: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            chosen = [rows[i] for i in index.tolist()]
            self._take(chosen, token)
            return torch.tensor([row.ended for row in chosen], device=token.device)

        if rows:
            most = max(row.most for row in rows)
            for _ in way(self.model, [row.prompt for row in rows], most, next_token, is_done):
                pass

    def _admit(self) -> list[Row]:
        """Take the rows off the queue that fit beside the running ones; the late ones leave."""
        taken: list[Row] = []
        late: list[Row] = []
        with self.changed:
            while self.waiting:
                row = self.waiting[0]
                if row.deadline < time.monotonic():
                    late.append(self.waiting.popleft())
                elif self._fits([*self.active, *taken, row]):
                    taken.append(self.waiting.popleft())
                else:
                    break
            self.active = [*self.active, *taken]
            self.most_at_once = max(self.most_at_once, len(self.active))
        for row in late:
            row.end("late")
        return taken

    def _fits(self, rows: Sequence[Row]) -> bool:
        longest = max(len(row.prompt) + row.most for row in rows)
        room = len(rows) * longest <= self.limits.cache_tokens or len(rows) == 1
        return room and len(rows) <= self.limits.at_once

    def _prefills(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """The new rows in batches of at most MAX_BATCH_TOKENS, padding included."""
        lengths = [len(row.prompt) for row in rows]

        def fits(batch: list[int]) -> bool:
            return len(batch) * lengths[batch[0]] <= MAX_BATCH_TOKENS

        for batch in long_first(lengths, fits):
            yield [rows[i] for i in batch]

    def _next(self, rows: Sequence[Row], logits: torch.Tensor) -> torch.Tensor:
        """A token for each row, (B), from logits (B, V)."""
        settings = [row.sampling for row in rows]
        left = penalised(logits, settings, [row.text.ids for row in rows])
        token = choose(left, settings, [row.random for row in rows])
        self.scores = scores_of(logits, token, rows)
        return token

    def _take(self, rows: Sequence[Row], token: torch.Tensor) -> None:
        """Hand the tokens (B) to their rows; those that end leave the active ones."""
        stops = self.stops[token].tolist()
        for row, one, stop, score in zip(rows, token.tolist(), stops, self.scores, strict=True):
            if not row.ended:
                row.take(one, stop, score)
                self.generated += 1
                self.answered += bool(row.finish)
        with self.changed:
            self.active = [row for row in self.active if not row.ended]
