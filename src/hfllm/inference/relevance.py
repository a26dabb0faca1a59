"""Relevance of an answer to its question: pointwise mutual information under a frozen model.

    log p(answer | question and constraints) - log p(answer | constraints alone), in nats

A checker tells whether an answer keeps a constraint ("use no commas"), not whether it answers the
question. Words of the constraint are as likely without the question, so repeating them gains
nothing. A token counts at its first occurrence only, and the sum is reduced by the share of
repeated 4-grams: PPO had learned to repeat itself. Source: Li et al. 2016 (arXiv:1510.03055), who
rank replies by it.

On 150 answers of SmolLM2-135M-Instruct and models trained from it, labelled blind, the AUC for "it
answers the question" (89 do) is 0.89, and 0.81 without the reduction (docs/log.md). Cost: two
scored rows per answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.inference.cut import say_cut
from hfllm.inference.load import is_chat_model, load_model
from hfllm.inference.loglik import continuation, token_logprobs
from hfllm.inference.prompts import Message, encode_prompt, positions
from hfllm.modeling.batching import ScoringRequest
from hfllm.tokenization.encode import encode_text

ENOUGH = 14.0  # nats; reached by 77 of the 89 relevant answers above and 12 of the 61 others
RUN = 4  # tokens; a run of them that occurred before is a repetition


def is_relevant(nats: float | None) -> bool:
    """Whether an answer with this relevance counts as relevant; None (not scored) does not."""
    return nats is not None and nats >= ENOUGH


@dataclass
class RelevanceJudge:
    """A frozen chat model that scores how relevant answers are to their questions.

    Args:
        model: a causal LM in eval mode; never trained.
        tokenizer: its tokenizer, with a chat template.
        enough: nats from which `shares` gives 1; 0 gives 1 always.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    enough: float = ENOUGH
    said_cut: bool = field(default=False, repr=False)
    _last: tuple[Any, list[float]] | None = field(default=None, repr=False)

    def nats(
        self,
        prompts: Sequence[list[Message]],
        answers: Sequence[str],
        constraints: Sequence[list[dict[str, Any]] | None],
        label: str | None = None,
    ) -> list[float]:
        """Relevance of each answer in nats: 0.0 if empty; < 0 if less likely with the question.

        Args:
            prompts: message lists that end with the user's.
            answers: a text for each.
            constraints: of each prompt, with their `text`; None or [] for none.
            label: begins the line on what was cut; None (as in RL, batch by batch): said once.

        Raises:
            ValueError: a constraint has no `text`.
        """
        asked_for = (list(prompts), list(answers), list(constraints))
        if self._last and self._last[0] == asked_for:  # several reward functions ask for the same
            return self._last[1]
        limit = positions(self.model)
        # This tokenizer may need more tokens than the policy's: those beyond its positions are cut.
        whole = [encode_text(self.tokenizer, text.strip()) for text in answers]
        encoded = [ids[: limit - 1] for ids in whole]
        rows, cut = list[ScoringRequest](), 0
        for prompt, ids, asked in zip(prompts, encoded, constraints, strict=True):
            for messages in (prompt, _without_question(prompt, asked or [])) if ids else ():
                before = encode_prompt(self.tokenizer, messages)
                rows.append(continuation(before, ids, limit))
                cut += messages is prompt and rows[-1].start < len(before)
        if label or not self.said_cut:
            ends = sum(len(ids) >= limit for ids in whole)
            say_cut(label or "judge", cut, len(whole), limit, "prompts with their answer")
            say_cut(label or "judge", ends, len(whole), limit, "answers", "end")
            self.said_cut = self.said_cut or cut + ends > 0
        scores = iter(token_logprobs(self.model, rows, "relevance"))
        out = []
        for ids in encoded:
            new = torch.tensor([token not in ids[:n] for n, token in enumerate(ids)])
            gained = float(((next(scores) - next(scores)) * new).sum()) if ids else 0.0
            out.append(gained * (1 - repeated_share(ids)))
        self._last = (asked_for, out)
        return out

    def shares(self, nats: Sequence[float]) -> list[float]:
        """Relevance in nats -> 0 to 1: 0 up to half of `enough`, 1 from `enough` on, else linear.

        With `enough` 0 all are 1: relevance is logged and changes no reward.
        """
        if self.enough == 0:
            return [1.0] * len(nats)
        return [min(1.0, max(0.0, 2 * n / self.enough - 1)) for n in nats]


def repeated_share(ids: Sequence[int]) -> float:
    """Share of tokens, 0 to 1, that are part of a RUN-gram which occurred before."""
    seen: set[tuple[int, ...]] = set()
    repeated = [False] * len(ids)
    for start in range(len(ids) - RUN + 1):
        run = tuple(ids[start : start + RUN])
        if run in seen:
            repeated[start : start + RUN] = [True] * RUN
        seen.add(run)
    return sum(repeated) / max(1, len(ids))


def _without_question(prompt: list[Message], constraints: list[dict[str, Any]]) -> list[Message]:
    """The prompt with its last user message replaced by the constraints' texts."""
    if any(not one.get("text") for one in constraints):
        raise ValueError(f"a constraint without its `text`: {constraints}; a judge reads the words")
    asked = " ".join(one["text"] for one in constraints)
    return [*prompt[:-1], {"role": "user", "content": asked}]


def open_judge(
    folder: str | Path, enough: float = ENOUGH, dtype: torch.dtype | None = None
) -> RelevanceJudge:
    """Load a chat model as a judge of relevance.

    Args:
        folder: model folder, run step, hub id or .gguf file.
        enough: nats from which an answer counts in full.
        dtype: of the weights; None: float32 on a CPU, bfloat16 on a GPU.

    Raises:
        ValueError: as `load_model`, or the model takes no chats (one line).
    """
    model, tokenizer = load_model(folder, dtype)
    if not (tokenizer.chat_template and is_chat_model(folder)):
        raise ValueError(
            f"{folder} takes no chats (no chat template, or a pretrain step): the judge of answers "
            "is a chat model"
        )
    return RelevanceJudge(model.requires_grad_(False), tokenizer, enough)
