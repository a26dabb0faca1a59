"""Is it an answer? How much likelier the question makes it than its instructions alone do.

A program can tell whether an answer kept "use no commas"; whether it answers is another matter.
log p(answer | question and instructions) - log p(answer | instructions alone), in nats, under a
model that stays as it is: the pointwise mutual information that Li et al. (2016, arXiv:1510.03055)
rank replies by. Words of the instruction are as likely without the question, so quoting it earns
nothing; a token counts where it first stands, so neither does going round in circles. On 100
answers of SmolLM2-135M-Instruct and models made of it, read blind, it tells the 58 that answer from
the others with an AUC of 0.91 (the likelihood of the question given the answer: 0.84; a reward
model of 453 pairs: 0.58; docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.inference.load import is_chat_model, load_model
from hfllm.inference.logits import Scored
from hfllm.inference.loglik import continuation, token_logprobs
from hfllm.inference.prompts import Message, encode_prompt, positions
from hfllm.tokenization.encode import encode_text

ENOUGH = 20.0  # nats: 51 of the 58 answers above have as many, and 4 of the 42 others


def is_relevant(nats: float | None) -> bool:
    """Whether a text is taken for an answer to its question."""
    return nats is not None and nats >= ENOUGH


@dataclass
class RelevanceJudge:
    """A language model that is asked how likely answers are; it is never trained."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    enough: float = ENOUGH
    _last: tuple[Any, list[float]] | None = field(default=None, repr=False)

    def nats(
        self,
        prompts: Sequence[list[Message]],
        answers: Sequence[str],
        constraints: Sequence[list[dict[str, Any]] | None],
    ) -> list[float]:
        """Relevance of each answer in nats (0.0 of an empty one; less than 0 off the question).

        Args:
            prompts: messages that end with the user's.
            answers: a text for each.
            constraints: of each prompt, with their `text`; None or [] where it has none.
        """
        asked_for = (list(prompts), list(answers), list(constraints))
        if self._last and self._last[0] == asked_for:  # several functions ask the same
            return self._last[1]
        limit = positions(self.model)
        # Its tokens may be more than the policy's: what is beyond its positions is not judged.
        encoded = [encode_text(self.tokenizer, text.strip())[: limit - 1] for text in answers]
        rows: list[Scored] = []
        for prompt, ids, asked in zip(prompts, encoded, constraints, strict=True):
            for messages in (prompt, _without_question(prompt, asked or [])) if ids else ():
                rows.append(continuation(encode_prompt(self.tokenizer, messages), ids, limit))
        scores = iter(token_logprobs(self.model, rows, "relevance"))
        out = []
        for ids in encoded:
            new = torch.tensor([token not in ids[:n] for n, token in enumerate(ids)])
            out.append(float(((next(scores) - next(scores)) * new).sum()) if ids else 0.0)
        self._last = (asked_for, out)
        return out

    def shares(self, nats: Sequence[float]) -> list[float]:
        """How far each is an answer: 0 up to half of `enough` nats, 1 from `enough` on.

        With `enough` 0 everything counts in full: the judge watches only.
        """
        if self.enough == 0:
            return [1.0] * len(nats)
        return [min(1.0, max(0.0, 2 * n / self.enough - 1)) for n in nats]


def _without_question(prompt: list[Message], constraints: list[dict[str, Any]]) -> list[Message]:
    """The prompt with nothing but the constraints in the user's last turn."""
    if any(not one.get("text") for one in constraints):
        raise ValueError(f"a constraint without its `text`: {constraints}; a judge reads the words")
    asked = " ".join(one["text"] for one in constraints)
    return [*prompt[:-1], {"role": "user", "content": asked}]


def open_judge(
    folder: str | Path, enough: float = ENOUGH, dtype: torch.dtype | None = None
) -> RelevanceJudge:
    """Load a chat model's folder as a judge; ValueError in one line where it is none."""
    model, tokenizer = load_model(folder, dtype)
    if not (tokenizer.chat_template and is_chat_model(folder)):
        raise ValueError(f"{folder} talks in no turns: the judge of answers is a chat model")
    return RelevanceJudge(model.requires_grad_(False), tokenizer, enough)
