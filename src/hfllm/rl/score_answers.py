"""Score sampled answers with reward functions outside a trainer, as TRL's GRPOTrainer calls them.

    scorer = AnswerScorer(functions, weights)
    scorer(rows, texts, ids) -> [Scored]

A function is called with `prompts`, `completions` (one assistant's message each), `completion_ids`,
a list for every other column of the rows, and `trainer_state`, `log_extra` and `log_metric`. All
answers to a prompt are in one call, side by side. The score is the weighted sum over the functions
that gave a number, as in TRL; None if none did. `log_extra` does nothing: there is no table of
completions. Async functions are awaited one after the other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerState

from hfllm.modeling.flops import matmul_parameters
from hfllm.rl.build_rewards import build_reward_functions
from hfllm.rl.checked_reward import checked
from hfllm.rl.rewards import load_reward_model
from hfllm.runs.layout import Step

OWN = ("prompt", "completion", "completion_ids")  # columns that TRL does not hand on


@dataclass(frozen=True)
class Scored:
    """An answer's scores by function, and their weighted sum; None: nothing scores it."""

    score: float | None
    by_function: dict[str, float | None]


class AnswerScorer:
    """Reward functions with their weights.

    Args:
        functions: of `build_rewards`, the reward model first.
        weights: one for each; None: 1.
    """

    def __init__(self, functions: Sequence[Any], weights: Sequence[float] | None) -> None:
        self.functions = [checked(function) for function in functions]
        self.weights = list(weights or [1.0] * len(self.functions))
        self.names = _distinct([function.__name__ for function in self.functions])
        self.logged: dict[str, list[float]] = {}  # by functions, in the last call

    def __call__(
        self, rows: Sequence[dict[str, Any]], texts: Sequence[str], ids: Sequence[list[int]]
    ) -> list[Scored]:
        """The scores of B answers.

        Args:
            rows: of the prompts, one for each answer.
            texts: the answers.
            ids: their tokens, the stop token included.

        Raises:
            ValueError: a function fails, or returns what is no score (checked_reward.py).
        """
        names = [name for name in rows[0] if name not in OWN]
        given: dict[str, Any] = {name: [row[name] for row in rows] for name in names}
        given |= {
            "prompts": [row["prompt"] for row in rows],
            "completions": [[{"role": "assistant", "content": text}] for text in texts],
            "completion_ids": list(ids),
            "trainer_state": TrainerState(),
            "log_extra": lambda *_, **__: None,
            "log_metric": self._log,
        }
        self.logged = {}
        columns = [_called(function, given) for function in self.functions]
        return [self._scored(values) for values in zip(*columns, strict=True)]

    def _log(self, name: str, value: float) -> None:
        self.logged.setdefault(name, []).append(float(value))

    def _scored(self, values: Sequence[float | None]) -> Scored:
        parts = [w * v for w, v in zip(self.weights, values, strict=True) if v is not None]
        return Scored(sum(parts) if parts else None, dict(zip(self.names, values, strict=True)))


def _called(function: Any, given: dict[str, Any]) -> Any:
    found = function(**given)
    return asyncio.run(found) if inspect.iscoroutine(found) else found


def _distinct(names: list[str]) -> list[str]:
    """The names; of those that are the same, the later ones numbered."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


@dataclass(frozen=True)
class _Settings:
    """What `build_reward_functions` reads of a trainer's settings: one process, not sharded."""

    max_completion_length: int
    bf16: bool = False
    deepspeed_plugin: Any = None
    fsdp: str = ""


def build_scorer(config: Any, step: Step, device: torch.device) -> tuple[AnswerScorer, int]:
    """Load what a step's answers are scored with.

    Args:
        config: a stage's, with the keys of `build_reward_functions`, `reward`, `reward_weights`,
            `batch_size` and `max_completion_length`.
        step: resolves models that are steps.
        device: of the reward model.

    Returns:
        The scorer, and the matmul parameters that score a token.
    """
    settings = _Settings(config.max_completion_length)
    functions, size = build_reward_functions(config, step, settings)
    if config.reward:
        scorer = load_reward_model(step.model_of(config.reward), config.batch_size)
        torch.nn.Module.to(scorer.model, device)
        size += matmul_parameters(scorer.model)
        functions.insert(0, scorer)
    return AnswerScorer(functions, config.reward_weights), size
