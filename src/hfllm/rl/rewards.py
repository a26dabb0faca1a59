"""Rewards: a reward model behind the chat template, and plain functions named in a recipe.

A reward function is called by the trainer with keyword arguments `prompts`, `completions` (lists
of messages), `completion_ids` and one list per column of the data set, and returns one number per
completion (None: not applicable). Several are summed, weighted by `reward_weights`. One that has an
attribute `prefix_features(prefix, **row)` tells PPO's critic what is known before the end
(privileged_critic.py).

`RewardModelScorer` is such a function around a reward model (`inference.reward_model`). It
takes every answer for finished, also a cut one: keep PPO's `missing_eos_penalty`. TRL would also
take the model itself, but its rendering turns spelled control tokens into real ones.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trl.models import prepare_deepspeed

from hfllm.inference.load import load_reward
from hfllm.inference.prompts import Message
from hfllm.inference.relevance import RelevanceJudge, is_relevant
from hfllm.inference.reward_model import RewardModel
from hfllm.instructions.constraints import prefix_features, share_held

RewardFunction = Callable[..., list[float | None]]
Note = Callable[[str, float], None]  # TRL's `log_metric`


class RewardModelScorer(RewardModel):
    """A reward model as TRL calls a reward function."""

    __name__ = "reward_model"  # the metric is rewards/reward_model/mean

    def __call__(
        self, prompts: list[list[Message]], completions: list[list[Message]], **_: Any
    ) -> list[float]:
        """One score per completion, as the trainer asks for it."""
        if prompts and isinstance(prompts[0], str):
            raise ValueError("a reward model needs chat prompts: lists of {role, content} messages")
        return self.score([(p + c, True) for p, c in zip(prompts, completions, strict=True)])


def place_reward_models(functions: list[Any], accelerator: Any) -> None:
    """Move those inside reward functions to the device, as TRL does with bare modules."""
    for function in functions:
        if isinstance(function, RewardModelScorer):
            function.model = (
                prepare_deepspeed(function.model, accelerator)
                if accelerator.state.deepspeed_plugin is not None
                else function.model.to(accelerator.device)
            )


def load_reward_model(
    folder: str | Path, batch_size: int = 32, dtype: torch.dtype = torch.float32
) -> RewardModelScorer:
    """Load a reward model's folder, frozen; the trainer moves it to its device.

    Raises:
        ValueError: the folder has no score head (transformers would make a random one, and TRL
            hides its warning), its vocabulary or weights are broken, or its pad token is unfit.
    """
    model, tokenizer = load_reward(folder, dtype, device="cpu")
    return RewardModelScorer(model.requires_grad_(False), tokenizer, batch_size)


def counted(scores: list[float | None], shares: list[float]) -> list[float | None]:
    """Scores above 0 times their share; a penalty stays whole, and None stays None."""
    return [
        score * share if score and score > 0 else score
        for score, share in zip(scores, shares, strict=True)
    ]


class _Counting:
    """Around a reward function: its name (the metric is rewards/NAME/mean) and what it knows."""

    def __init__(self, function: RewardFunction) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.prefix_features = getattr(function, "prefix_features", None)


class CountedIfAnswer(_Counting):
    """A reward function whose scores above 0 count as far as a judge takes the text for an answer.

    The metrics judge/relevance (nats), judge/relevant (share of answers with enough of them) and
    judge/NAME (what the function gives by itself) are logged beside the reward, so that it shows
    when one is bought with the other.
    """

    def __init__(self, function: RewardFunction, judge: RelevanceJudge) -> None:
        """The judge is asked of every answer."""
        super().__init__(function)
        self.judge = judge

    def __call__(
        self, prompts: list[list[Message]], completions: list[list[Message]], **columns: Any
    ) -> list[float | None]:
        """The function's scores, those above 0 times the judge's share."""
        if prompts and isinstance(prompts[0], str):
            raise ValueError("a judge needs chat prompts: lists of {role, content} messages")
        scores = self.function(prompts=prompts, completions=completions, **columns)
        asked = columns.get("constraints") or [None] * len(prompts)
        nats = self.judge.nats(prompts, [c[-1]["content"] for c in completions], asked)
        note = columns.get("log_metric")
        given = [score for score in scores if score is not None]
        if note and given:
            note("judge/relevance", sum(nats) / len(nats))
            note("judge/relevant", sum(map(is_relevant, nats)) / len(nats))
            note(f"judge/{self.__name__}", sum(given) / len(given))
        return counted(scores, self.judge.shares(nats))


class CountedByLength(_Counting):
    """A reward function whose scores above 0 count in part where an answer is short.

    By the share that its tokens are of `floor`; of the words that it may have at most, where a
    constraint of its row says so and they are fewer. The metric length/floor is the mean share.
    """

    def __init__(self, function: RewardFunction, floor: int) -> None:
        """`floor` is in tokens."""
        super().__init__(function)
        self.floor = floor

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        """The function's scores, those above 0 times the share of the floor."""
        scores = self.function(completion_ids=completion_ids, **columns)
        asked = columns.get("constraints") or [None] * len(scores)
        floors = [min([self.floor, *_most_words(some)]) for some in asked]
        shares = [
            min(1.0, len(ids) / floor) for ids, floor in zip(completion_ids, floors, strict=True)
        ]
        if note := columns.get("log_metric"):
            note("length/floor", sum(shares) / len(shares))
        return counted(scores, shares)


def _most_words(constraints: list[dict[str, Any]] | None) -> list[int]:
    """What a row's constraints say of the words of an answer, if anything."""
    return [int(one["words"]) for one in constraints or () if one.get("words")]


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


def constraint_features(prefix: str, /, constraints: Any = None, **_: Any) -> list[float]:
    """Which kinds of constraints of a row are open, kept or broken for good."""
    return prefix_features(constraints or [], prefix)


def keeps_constraints(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    log_metric: Note | None = None,
    **_: Any,
) -> list[float | None]:
    """1 where a completion keeps every constraint of its row (an instructions step's), else 0.

    Alone it is hacked: the shortest text that keeps them is as good as an answer (docs/log.md).
    """
    kept = _shares_held(completions, constraints, log_metric)
    return [None if shares is None else float(all(s == 1 for s in shares)) for shares in kept]


def share_of_constraints(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    log_metric: Note | None = None,
    **_: Any,
) -> list[float | None]:
    """How far a completion keeps its row's constraints: one of two, or of two words, is a half."""
    kept = _shares_held(completions, constraints, log_metric)
    return [sum(shares) / len(shares) if shares else None for shares in kept]


for _checked in (keeps_constraints, share_of_constraints):
    _checked.__dict__["prefix_features"] = constraint_features


def _shares_held(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    note: Note | None,
) -> list[list[float] | None]:
    """How far each completion keeps each constraint of its row; kept/KIND is logged (strictly)."""
    kinds: dict[str, list[bool]] = {}
    out: list[list[float] | None] = []
    for completion, asked in zip(completions, constraints, strict=True):
        shares = [share_held(one, completion[-1]["content"]) for one in asked or ()]
        out.append(None if asked is None else shares)
        for one, share in zip(asked or (), shares, strict=True):
            kinds.setdefault(one["kind"], []).append(share == 1)
    if note:
        for kind, flags in kinds.items():
            note(f"kept/{kind}", sum(flags) / len(flags))
    return out
