"""A reward model, opened: conversations in, one score each.

The conversation is rendered as `data.chat` renders it, with the reward model's own tokenizer, which
is what it was trained on: a control token that an answer *spells* stays text. Padding lies on the
right and does not change a score. An answer that was cut off can be left open, without its end of
turn, so that the model sees what the user would see.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.inference.load import load_reward
from hfllm.inference.progress import track
from hfllm.inference.prompts import Message, encode_prompt, positions
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.loss_mask import render

Judged = tuple[list[Message], bool]  # a conversation that ends with the answer; whether it ended


@dataclass
class RewardModel:
    """A sequence classifier of one label with its tokenizer, which has a pad token of its own."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 32
    name: str = "reward"

    def encode(self, messages: list[Message], ended: bool = True) -> list[int]:
        """Token ids of a conversation, its last answer open where it was cut off.

        What exceeds the model's positions is cut on the left.
        """
        if ended:
            ids = render(self.tokenizer, messages, train="none").input_ids
        else:
            asked = encode_prompt(self.tokenizer, messages[:-1])
            ids = asked + encode_text(self.tokenizer, messages[-1]["content"])
        return ids[-positions(self.model) :]

    @torch.no_grad()
    def score(self, judged: Sequence[Judged], label: str | None = None) -> list[float]:
        """Scores in the order given; `label` shows progress under that name."""
        rows = [self.encode(messages, ended) for messages, ended in judged]
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
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])  # (B, L)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self.model.device
        output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
        return output.logits[:, 0].float().tolist()


def open_reward_model(
    folder: str | Path, batch_size: int = 32, name: str = "reward"
) -> RewardModel:
    """Load a reward model's folder; ValueError in one line where it is none."""
    model, tokenizer = load_reward(folder)
    if not tokenizer.chat_template:
        raise ValueError(f"{folder}: the reward model's tokenizer has no chat template")
    return RewardModel(model, tokenizer, batch_size, name)
