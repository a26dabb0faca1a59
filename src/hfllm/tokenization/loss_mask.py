"""The mask gate: conversations -> training rows with a loss mask that has been checked.

Every chat training passes `mask_gate` before it starts. In order, per conversation: render it
(render.py), check its loss mask, truncate it to seq_len. Checked is what silently ruins chat
models: a row without a trained token (its loss is 0, or NaN), an end-of-turn token outside the mask
(the model never stops), a doubled BOS, a pad token that is the end of turn (masked with the
padding), and a prompt that differs between training and inference. An error of the mask stops the
training with the row and the reason; rows that do not fit are dropped and counted.
`GateReport.show` prints the first rows with their trained tokens in colour. Cost: that of
rendering, 0.3 ms per conversation.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TextIO

from transformers import PreTrainedTokenizerBase

from hfllm.data.ledger import Example, Ledger
from hfllm.tokenization.apply_template import Messages
from hfllm.tokenization.render import Rendered, eot_token_id, render
from hfllm.tokenization.template_plan import untrained_end
from hfllm.tokenization.tools import uses_tools

COMPARED_ROWS = 100  # rows whose prompt is also rendered as at inference, and compared
GREEN, RESET = "\x1b[32m", "\x1b[0m"


@dataclass
class GateReport:
    """What `mask_gate` kept and dropped; `rows` are ready to be packed."""

    tokenizer: PreTrainedTokenizerBase
    seq_len: int
    end_of_turn: str
    rows: list[Rendered] = field(default_factory=list)  # kept, at most seq_len tokens each
    dropped: Counter[str] = field(default_factory=Counter)  # rows by reason
    examples: dict[str, str] = field(default_factory=dict)  # the first dropped row of each reason
    truncated: int = 0  # kept rows that were cut at seq_len
    untrained: int = 0  # answers in the kept rows that are context only (`weight: 0`)

    @property
    def tokens(self) -> int:
        """Tokens in the kept rows."""
        return sum(map(len, self.rows))

    @property
    def trained_tokens(self) -> int:
        """Tokens in the kept rows that carry loss."""
        return sum(sum(row.trained) for row in self.rows)

    def drop(self, reason: str, example: str) -> None:
        """Count a row that is left out; the first example of each reason is kept."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, example)

    def text(self, rows: int = 2, color: bool = False) -> str:
        """Summary and first rows; trained tokens are green, or [in brackets] without `color`."""
        lost = "".join(f"; dropped {n:,} ({reason})" for reason, n in self.dropped.most_common())
        context = f"; {self.untrained:,} answers are not trained (weight 0)"
        context = context if self.untrained else ""
        share = self.trained_tokens / max(1, self.tokens)
        lines = [
            f"mask gate: {len(self.rows):,} conversations, {self.tokens:,} tokens, {share:.0%} of "
            f"them trained; a turn ends with {self.end_of_turn}; {self.truncated:,} cut at "
            f"{self.seq_len:,} tokens{lost}{context}",
            *(f"  first {reason}: {example}" for reason, example in self.examples.items()),
            *("  " + self._paint(row, color) for row in self.rows[:rows]),
        ]
        if behind := untrained_end(self.tokenizer):
            lines.append(f"  not trained: {behind!r}, written by the template after the last turn")
        return "\n".join(lines)

    def show(self, rows: int = 2, file: TextIO | None = None) -> None:
        """Print `text` to `file` (default: standard output), in colour on a terminal only."""
        out = file or sys.stdout
        print(self.text(rows, color=out.isatty()), file=out)

    def _paint(self, row: Rendered, color: bool) -> str:
        before, after = (GREEN, RESET) if color else ("[", "]")
        parts = []
        for trained, group in groupby(zip(row.trained, row.input_ids, strict=True), lambda p: p[0]):
            text = str(self.tokenizer.decode([i for _, i in group], skip_special_tokens=False))
            parts.append(f"{before}{text}{after}" if trained else text)
        return "".join(parts).replace("\n", "\\n")


def mask_gate(
    tokenizer: PreTrainedTokenizerBase,
    chats: Iterable[Example],
    seq_len: int,
    ledger: Ledger | None = None,
    max_dropped: float = 0.5,
    turns: str = "all",
) -> GateReport:
    """Render every conversation, check its mask, and return the rows that can be trained.

    `chats` have `messages`, `source` and maybe an `id`. `turns`, for templates that rewrite what
    was said before: train "all" answers of a row, its "last", or "each" in a row of its own. The
    `ledger` gets documents, tokens and bytes: kept, changed:truncated (in tokens alone),
    dropped:template (the template refuses or rewrites the messages), dropped:tools (or those with
    tools, which many templates do not write) and dropped:no_trained_tokens
    (nothing trained is left after truncation); of "each" for each row.

    Raises ValueError with the row and the reason where the mask is wrong, and where no row or less
    than 1 - max_dropped of the rows are left.
    """
    end = _check_tokens(tokenizer)
    report = GateReport(tokenizer, seq_len, str(tokenizer.convert_ids_to_tokens(end)))
    ledger = Ledger() if ledger is None else ledger
    seen = 0
    for seen, chat in enumerate(by_turn(chats, turns, ledger), start=1):
        name, messages = f"row {seen - 1} (id {chat.get('id', seen - 1)!r})", chat["messages"]
        try:
            train, tools = "all" if turns == "all" else "last", chat.get("tools")
            row = render(tokenizer, messages, train=train, tools=tools)
        except ValueError as error:
            reason = "tools" if tools or uses_tools(messages) else "template"
            report.drop(reason, f"{name}: {error}")
            ledger.drop(chat, reason)
            continue
        if problem := _mask_problem(tokenizer, row, end):
            raise ValueError(f"mask gate: {name}: {problem}")
        if len(report.rows) < COMPARED_ROWS and (problem := _differs(tokenizer, chat, row)):
            raise ValueError(f"mask gate: {name}: {problem}")
        kept = row.truncate(seq_len)
        if not any(kept.trained):
            example = f"{name}: {row.trained.index(True):,} tokens come before the first answer"
            report.drop("no_trained_tokens", example)
            ledger.drop(chat, "no_trained_tokens", tokens=len(row))
            continue
        report.rows.append(kept)
        report.untrained += sum(message.get("weight") == 0 for message in messages)
        ledger.keep(chat, tokens=len(kept))
        if len(kept) < len(row):
            report.truncated += 1
            ledger.change(chat, "truncated", tokens=len(row) - len(kept))
    _check_share(report, seen, max_dropped)
    return report


def by_turn(chats: Iterable[Example], turns: str, ledger: Ledger) -> Iterator[Example]:
    """Conversations cut after their last answer ("last"), after each ("each"), or whole ("all")."""
    for chat in chats:
        answers = trained_answers(chat["messages"])
        if turns == "all" or not answers:
            yield chat
            continue
        behind = answers if turns == "each" else answers[-1:]
        ledger.split(chat, len(behind))
        for answer in behind:
            yield chat.part(messages=chat["messages"][: answer + 1])


def trained_answers(messages: Messages) -> list[int]:
    """Indices of the answers that are trained: all but those with `weight: 0`."""
    return [i for i, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight") != 0]


def _check_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    end, pad = eot_token_id(tokenizer), tokenizer.pad_token_id
    if pad is None:
        raise ValueError("mask gate: the tokenizer has no pad token; give it one of its own")
    if pad == end:
        raise ValueError(
            f"mask gate: the pad token is the end of turn ({tokenizer.pad_token}): it would be "
            "masked away with the padding and the model would never stop; give the tokenizer a pad "
            "token of its own"
        )
    if pad == tokenizer.eos_token_id:
        raise ValueError(
            f"mask gate: pad and eos are the same token ({tokenizer.pad_token}): ends would be "
            "masked away with the padding; give the tokenizer a pad token of its own"
        )
    return end


def _check_share(report: GateReport, seen: int, max_dropped: float) -> None:
    if report.rows and len(report.rows) >= (1 - max_dropped) * seen:
        return
    if not seen:
        raise ValueError("mask gate: no conversations to train on; look into data.mixture")
    reasons = "; ".join(
        f"{n:,} x {reason}, first {report.examples[reason]}"
        for reason, n in report.dropped.most_common()
    )
    raise ValueError(
        f"mask gate: {sum(report.dropped.values()):,} of {seen:,} conversations cannot be trained "
        f"at seq_len {report.seq_len:,}: {reasons}"
        + ("; to train on the others set `allow_dropped` on the source" if report.rows else "")
    )


def _mask_problem(tokenizer: PreTrainedTokenizerBase, row: Rendered, end: int) -> str | None:
    """What is wrong with the mask of a row that is not truncated yet, or None."""
    trained = [i for i, flag in zip(row.input_ids, row.trained, strict=True) if flag]
    if not trained:
        return "no token is trained; does it hold an assistant's message?"
    closing = trained[-2:-1] if trained[-1] == tokenizer.eos_token_id != end else trained[-1:]
    if closing != [end]:
        return f"the end of turn is not trained (last is {tokenizer.decode(trained[-1:])!r})"
    return _bos_problem(tokenizer, row.input_ids)


def _bos_problem(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str | None:
    bos = tokenizer.bos_token_id
    if bos is None:
        return None
    if ids[0] != bos:
        if tokenizer("x")["input_ids"][0] != bos:
            return None  # the tokenizer writes no BOS at all
        return "the template writes no BOS, but this tokenizer begins every text with it"
    if ids[1:2] == [bos]:
        return "BOS stands twice at the start; let only the template write it"
    # Some models (SmolLM2) begin every message with BOS and the role in words: a role marker.
    special = tokenizer.all_special_ids
    inner = [i for i, token in enumerate(ids) if token == bos][1:]
    if any(i + 1 < len(ids) and ids[i + 1] in special for i in inner):
        return "BOS stands again inside the conversation; let the template write it once"
    return None


def _differs(tokenizer: PreTrainedTokenizerBase, chat: Example, row: Rendered) -> str | None:
    """How the row differs from the rendering at inference, up to the last prompt; or None."""
    last, tools = trained_answers(chat["messages"])[-1], chat.get("tools")
    before = chat["messages"][:last]
    prompt = render(tokenizer, before, add_generation_prompt=True, tools=tools).input_ids
    if row.input_ids[: len(prompt)] != prompt:
        return "the prompt has other tokens in training than at inference"
    if not row.trained[len(prompt)] or row.trained[len(prompt) - 1]:
        return "training does not begin where the prompt of the last turn ends"
    return None
