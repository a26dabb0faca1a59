"""Reward model inference: conversations -> one score each, in batches sorted by length.

A conversation is rendered as in training (tokenization/render.py), with the reward model's own
tokenizer; control tokens that an answer spells are encoded as plain text. Padding is on the right
and masked, so it does not change a score. An answer that was cut at its token limit can be encoded
without its end of turn, so that the model scores what the user would see.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.inference.cut import say_cut
from hfllm.inference.load import load_reward
from hfllm.inference.progress import track
from hfllm.inference.prompts import Message, encode_prompt, positions
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.render import render

Judged = tuple[list[Message], bool]  # a conversation up to the answer; whether the answer ended


@dataclass
class RewardModel:
    """A sequence classifier with one label, and its tokenizer.

    Args:
        model: in eval mode.
        tokenizer: with a pad token of its own and a chat template.
        batch_size: conversations per forward pass.
        name: of the model, where scores of several are told apart.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 32
    name: str = "reward"
    said_cut: bool = field(default=False, repr=False)

    def encode(self, messages: list[Message], ended: bool = True) -> list[int]:
        """Token ids of a conversation; `ended` False: the last answer has no end of turn."""
        if ended:
            return render(self.tokenizer, messages, train="none").input_ids
        asked = encode_prompt(self.tokenizer, messages[:-1])
        return asked + encode_text(self.tokenizer, messages[-1]["content"])

    @torch.no_grad()
    def score(self, judged: Sequence[Judged], label: str | None = None) -> list[float]:
        """One score per conversation, in their order; with a `label`, under a progress bar.

        What exceeds the model's positions is cut on the left; that is said, without a `label` (as
        in RL, batch by batch) once.
        """
        limit = positions(self.model)
        whole = [self.encode(messages, ended) for messages, ended in judged]
        rows = [ids[-limit:] for ids in whole]
        cut = sum(len(ids) > limit for ids in whole)
        if label or not self.said_cut:
            say_cut(label or self.name, cut, len(whole), limit, "conversations")
            self.said_cut = self.said_cut or cut > 0
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
        scores = [0.0] * len(rows)
        progress = track(len(rows), label, "answers") if label else nullcontext(lambda _: None)
        with progress as done:
            for begin in range(0, len(order), self.batch_size):
                chosen = order[begin : begin + self.batch_size]
                for i, value in zip(chosen, self._forward([rows[i] for i in chosen]), strict=True):
                    scores[i] = value
                done(len(chosen))
        return scores

    def _forward(self, rows: list[list[int]]) -> list[float]:
        """Scores of one batch of token ids, padded on the right."""
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])  # (B, L)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])  # (B, L)
        device = self.model.device
        output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
        return output.logits[:, 0].float().tolist()


def open_reward_model(
    folder: str | Path, batch_size: int = 32, name: str = "reward"
) -> RewardModel:
    """Load a reward model for scoring.

    Args:
        folder: model folder, run step, or hub id.
        batch_size: conversations per forward pass.
        name: of the model, where scores of several are told apart.

    Raises:
        ValueError: as `load_reward`, or its tokenizer has no chat template (one line).
    """
    model, tokenizer = load_reward(folder)
    if not tokenizer.chat_template:
        raise ValueError(f"{folder}: the reward model's tokenizer has no chat template")
    return RewardModel(model, tokenizer, batch_size, name)
