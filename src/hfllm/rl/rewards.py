"""Reward functions in TRL's signature: a reward model, and functions that a recipe can name.

TRL's trainers call one with keyword arguments `prompts`, `completions` (lists of messages),
`completion_ids` and one list per column of the data set; it returns one number per completion
(None: not applicable). Several are summed, weighted by `reward_weights`. With an attribute
`prefix_features(prefix, **row)` it also gives PPO's critic features of the beginning of an answer
(privileged_critic.py).

`RewardModelScorer` is such a function around a reward model (`inference.reward_model`). It scores
every answer as a finished one, even if it is truncated: keep PPO's `missing_eos_penalty`. TRL also
accepts the bare model, but renders control tokens that a text spells as real ones.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trl.models import prepare_deepspeed

from hfllm.inference.load import load_reward
from hfllm.inference.prompts import Message
from hfllm.inference.reward_model import RewardModel
from hfllm.instructions.constraints import prefix_features, share_held

RewardFunction = Callable[..., list[float | None]]
LogMetric = Callable[[str, float], None]  # the argument `log_metric` that TRL passes


class RewardModelScorer(RewardModel):
    """A reward model with the signature of TRL's reward functions."""

    __name__ = "reward_model"  # the metric is rewards/reward_model/mean

    def __call__(
        self, prompts: list[list[Message]], completions: list[list[Message]], **_: Any
    ) -> list[float]:
        """One score per completion."""
        if prompts and isinstance(prompts[0], str):
            raise ValueError("a reward model needs chat prompts: lists of {role, content} messages")
        return self.score([(p + c, True) for p, c in zip(prompts, completions, strict=True)])


def place_reward_models(functions: list[Any], accelerator: Any) -> None:
    """Move the models of `RewardModelScorer`s to the device: TRL does so with bare models only."""
    for function in functions:
        scorer = getattr(function, "function", function)  # of a CheckedReward
        if isinstance(scorer, RewardModelScorer):
            scorer.model = (
                prepare_deepspeed(scorer.model, accelerator)
                if accelerator.state.deepspeed_plugin is not None
                else scorer.model.to(accelerator.device)
            )


def load_reward_model(
    folder: str | Path, batch_size: int = 32, dtype: torch.dtype = torch.float32
) -> RewardModelScorer:
    """Load a frozen reward model, on the CPU (`place_reward_models` moves it).

    Args:
        folder: of the model and its tokenizer.
        batch_size: answers scored at once.
        dtype: of the weights.

    Raises:
        ValueError: the folder has no score head (transformers would make a random one, and TRL
            hides its warning), its vocabulary or weights are broken, or it has no usable pad token.
    """
    model, tokenizer = load_reward(folder, dtype, device="cpu")
    return RewardModelScorer(model.requires_grad_(False), tokenizer, batch_size)


def load_functions(names: list[str]) -> list[RewardFunction]:
    """Import reward functions written as "package.module:function".

    Raises:
        ValueError: one cannot be imported or called; the message names it.
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
            f"reward_functions: {name!r}: no module {error.name!r}; add its folder to PYTHONPATH"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"reward_functions: {module_name} has no function {attribute!r}")
    prefix_features_of(function, name)  # an old name is refused before a model is loaded
    return function


def prefix_features_of(function: Any, name: str) -> Any:
    """The function's `prefix_features`, or None; ValueError if it has them as `so_far`, once."""
    if getattr(function, "so_far", None):
        raise ValueError(f"the reward function {name} has `so_far`: rename it to `prefix_features`")
    return getattr(function, "prefix_features", None)


def length_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """-0.01 per token, against the preference of reward models for length."""
    return [-0.01 * len(ids) for ids in completion_ids]


def contains_answer(
    completions: list[list[Message]], answer: list[Any], **_: Any
) -> list[float | None]:
    """1 if the completion contains the column `answer` (case ignored), else 0; None without one.

    An answer may be a number, or a list of accepted answers.
    """
    return [
        None if truth is None else float(_contains(completion[-1]["content"], truth))
        for completion, truth in zip(completions, answer, strict=True)
    ]


def _contains(text: str, truth: Any) -> bool:
    accepted = truth if isinstance(truth, list) else [truth]
    return any(str(one).lower() in text.lower() for one in accepted)


def constraint_features(prefix: str, /, constraints: Any = None, **_: Any) -> list[float]:
    """Features of an answer's beginning: which constraints are open, kept or finally broken."""
    return prefix_features(constraints or [], prefix)


def keeps_constraints(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    log_metric: LogMetric | None = None,
    **_: Any,
) -> list[float | None]:
    """1 if a completion keeps every constraint of its row, else 0; None without the column.

    `constraints` are those of an `instructions` step; `log_metric` logs kept/KIND. Without a judge
    or length floor it is exploited: the shortest text that keeps the constraints earns as much as
    an answer (docs/log.md).
    """
    kept = _shares_held(completions, constraints, log_metric)
    return [None if shares is None else float(all(s == 1 for s in shares)) for shares in kept]


def share_of_constraints(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    log_metric: LogMetric | None = None,
    **_: Any,
) -> list[float | None]:
    """Mean share in [0, 1] to which a completion keeps its row's constraints.

    One of two constraints, or one of two words to contain, gives 0.5. Arguments as in
    `keeps_constraints`.
    """
    kept = _shares_held(completions, constraints, log_metric)
    return [sum(shares) / len(shares) if shares else None for shares in kept]


for _checked in (keeps_constraints, share_of_constraints):
    _checked.__dict__["prefix_features"] = constraint_features


def _shares_held(
    completions: list[list[Message]],
    constraints: list[list[dict[str, Any]] | None],
    log: LogMetric | None,
) -> list[list[float] | None]:
    """The share in [0, 1] of each constraint that is kept; logs kept/KIND, which counts 1 only."""
    kinds: dict[str, list[bool]] = {}
    out: list[list[float] | None] = []
    for completion, of_row in zip(completions, constraints, strict=True):
        shares = [share_held(one, completion[-1]["content"]) for one in of_row or ()]
        out.append(None if of_row is None else shares)
        for one, share in zip(of_row or (), shares, strict=True):
            kinds.setdefault(one["kind"], []).append(share == 1)
    if log:
        for kind, flags in kinds.items():
            log(f"kept/{kind}", sum(flags) / len(flags))
    return out
