"""Rewards: a reward model behind the chat template, and plain functions named in a recipe.

A reward function is called by the trainer with keyword arguments `prompts`, `completions` (lists
of messages), `completion_ids` and one list per column of the data set, and returns one number per
completion (None: not applicable). Several are summed, weighted by `reward_weights`.

`RewardModelScorer` is such a function around a reward model. It scores whole conversations as
`data.chat` renders them, which is what the model was trained on: a control token that an answer
*spells* stays text, padding lies on the right and does not change a score. The template closes
every answer, so a cut one looks finished: keep PPO's `missing_eos_penalty`. TRL would also take
the model itself, but its rendering turns spelled control tokens into real ones.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hfllm.data.chat import render

Message = dict[str, str]
RewardFunction = Callable[..., list[float | None]]


class RewardModelScorer:
    """Score conversations with a sequence classifier of one label.

    Args:
        model: the reward model.
        tokenizer: its tokenizer, with a chat template and a pad token of its own.
        batch_size: conversations per forward.

    Raises:
        ValueError: if the pad token is missing or also ends turns.
    """

    __name__ = "reward_model"  # the metric is rewards/reward_model/mean

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32
    ) -> None:
        """Take the model, set its pad token and freeze it."""
        if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
            raise ValueError(
                f"reward model {model.config._name_or_path}: its pad token "
                f"({tokenizer.pad_token}) must not end texts too, else the score is read one "
                "token early: give its tokenizer a pad token of its own and train it again"
            )
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.batch_size = batch_size

    def __call__(
        self, prompts: list[list[Message]], completions: list[list[Message]], **_: Any
    ) -> list[float]:
        """One score per completion, as the trainer asks for it."""
        if prompts and isinstance(prompts[0], str):
            raise ValueError("a reward model needs chat prompts: lists of {role, content} messages")
        return self.score([p + c for p, c in zip(prompts, completions, strict=True)])

    @torch.no_grad()
    def score(self, conversations: list[list[Message]]) -> list[float]:
        """One score per conversation (which ends with the assistant's answer)."""
        rows = [render(self.tokenizer, messages).input_ids for messages in conversations]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # less padding per batch
        scores = [0.0] * len(rows)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            for i, score in zip(chosen, self._forward([rows[i] for i in chosen]), strict=True):
                scores[i] = score
        return scores

    def _forward(self, rows: list[list[int]]) -> list[float]:
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])  # (B, L)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self.model.device
        output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
        return output.logits[:, 0].float().tolist()


def load_reward_model(
    folder: str | Path, batch_size: int = 32, dtype: torch.dtype = torch.float32
) -> RewardModelScorer:
    """Load a reward model's folder.

    Raises:
        ValueError: if the folder has no score head (transformers would make a random one, and
            TRL hides its warning), or its pad token is unfit.
    """
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"no reward model to read in {folder}: {reason}") from error
    if info["missing_keys"]:
        raise ValueError(
            f"{folder} is no reward model: {', '.join(sorted(info['missing_keys'])[:3])} is not in "
            "its weights; train one with the stage `reward`"
        )
    return RewardModelScorer(model, AutoTokenizer.from_pretrained(folder), batch_size)


def load_functions(names: list[str]) -> list[RewardFunction]:
    """Import reward functions written as "package.module:function".

    Raises:
        ValueError: naming the entry that cannot be imported or called.
    """
    return [_load_function(name) for name in names]


def _load_function(name: str) -> RewardFunction:
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ValueError(f'reward_functions: {name!r} is not of the form "package.module:function"')
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"reward_functions: {name!r}: no module {error.name!r}, is it on PYTHONPATH?"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"reward_functions: {module_name} has no function {attribute!r}")
    return function


def length_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Minus 0.01 per token: a brake on the length that reward models like."""
    return [-0.01 * len(ids) for ids in completion_ids]


def contains_answer(
    completions: list[list[Message]], answer: list[str | None], **_: Any
) -> list[float | None]:
    """1 where the data set's `answer` stands in the completion (any case), None without one."""
    return [
        None if truth is None else float(truth.lower() in completion[-1]["content"].lower())
        for completion, truth in zip(completions, answer, strict=True)
    ]
