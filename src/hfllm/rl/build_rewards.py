"""Build the reward functions of a recipe: import them, add the relevance judge and length floor.

In order: `reward_functions` are imported by name and wrapped in a check of their results; with
`judge` each is wrapped in a `JudgedReward`, with `length_floor` in a `LengthFloorReward`, which
reduce what an irrelevant or a short answer earns. For every stage that trains on rewards of sampled
answers (PPO, GRPO, RLOO): nothing here depends on a trainer. Cost of the judge: two forward passes
per answer.
"""

from __future__ import annotations

from typing import Any

import torch

from hfllm.inference.prompts import Message, positions
from hfllm.inference.relevance import ENOUGH, RelevanceJudge, is_relevant, open_judge
from hfllm.modeling.flops import matmul_parameters
from hfllm.rl.checked_reward import ChangedReward, checked
from hfllm.rl.rewards import RewardFunction, load_functions
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_sharded


def build_reward_functions(config: Any, step: Step, args: Any) -> tuple[list[Any], int]:
    """Return the reward functions, and the judge's parameters per token for the FLOPs count.

    Args:
        config: a stage's, with `reward_functions`, `judge`, `judge_nats`, `length_floor`.
        step: resolves the judge if it is a step.
        args: the trainer's: precision, `max_completion_length`.

    Returns:
        The functions, and twice the judge's matmul parameters (0 without a judge), because it runs
        twice on each answer: with and without the question.

    Raises:
        ValueError: a function cannot be imported, or the judge cannot be used (`load_judge`).
    """
    functions: list[Any] = [checked(f) for f in load_functions(config.reward_functions)]
    judge_size = 0
    if config.judge:
        judge = load_judge(config, step, args)
        functions = [JudgedReward(f, judge) for f in functions]
        judge_size = 2 * matmul_parameters(judge.model)
    if config.length_floor:
        functions = [LengthFloorReward(f, config.length_floor) for f in functions]
    return functions, judge_size


def load_judge(config: Any, step: Step, args: Any) -> RelevanceJudge:
    """Load the relevance judge, a frozen chat model.

    Args:
        config: a stage's, with `judge` and `judge_nats`.
        step: resolves the judge if it is a step.
        args: the trainer's: precision, `max_completion_length`.

    Raises:
        ValueError: models are sharded, or the judge has too few positions for an answer.
    """
    if is_sharded(args) and getattr(args.deepspeed_plugin, "zero_stage", 3) == 3:
        raise ValueError(
            f"{step.name}.judge: each process runs it at different times, which a sharded model "
            "(ZeRO-3, FSDP) does not allow; use ddp, zero1 or zero2, or leave it out"
        )
    dtype = torch.bfloat16 if args.bf16 else None
    enough = ENOUGH if config.judge_nats is None else config.judge_nats
    judge = open_judge(step.model_of(config.judge or ""), enough, dtype)
    if (most := positions(judge.model)) <= args.max_completion_length:
        raise ValueError(
            f"{step.name}.judge: {config.judge} has {most} positions, too few for answers of "
            f"max_completion_length ({args.max_completion_length}) tokens; use another "
            "judge, or lower that"
        )
    return judge


def scale_positive(scores: list[float | None], shares: list[float]) -> list[float | None]:
    """Scores above 0 multiplied by their share in [0, 1]; others, and None, are unchanged."""
    return [
        score * share if score and score > 0 else score
        for score, share in zip(scores, shares, strict=True)
    ]


class JudgedReward(ChangedReward):
    """A reward function whose scores above 0 are multiplied by the relevance of the answer.

    The multiplier is `RelevanceJudge.shares`, in [0, 1]. Logged as well: judge/relevance (mean, in
    nats), judge/relevant (share of relevant answers), judge/NAME (the function's mean before the
    multiplication), so that a reward that rises at the expense of relevance is seen.
    """

    def __init__(self, function: RewardFunction, judge: RelevanceJudge) -> None:
        """Wrap `function`; `judge` scores every answer."""
        super().__init__(function)
        self.judge = judge

    def __call__(
        self, prompts: list[list[Message]], completions: list[list[Message]], **columns: Any
    ) -> list[float | None]:
        """The function's scores, one per completion, those above 0 times the judge's share."""
        if prompts and isinstance(prompts[0], str):
            raise ValueError("a judge needs chat prompts: lists of {role, content} messages")
        scores = self.function(prompts=prompts, completions=completions, **columns)
        constraints = columns.get("constraints") or [None] * len(prompts)
        nats = self.judge.nats(prompts, [c[-1]["content"] for c in completions], constraints)
        log = columns.get("log_metric")
        given = [score for score in scores if score is not None]
        if log and given:
            log("judge/relevance", sum(nats) / len(nats))
            log("judge/relevant", sum(map(is_relevant, nats)) / len(nats))
            log(f"judge/{self.__name__}", sum(given) / len(given))
        return scale_positive(scores, self.judge.shares(nats))


class LengthFloorReward(ChangedReward):
    """A reward function whose scores above 0 are reduced if an answer is shorter than a floor.

    They are multiplied by tokens / `floor`, at most 1; if a constraint of the row allows fewer
    words than `floor`, that number is the floor. The metric length/floor is the mean multiplier.
    """

    def __init__(self, function: RewardFunction, floor: int) -> None:
        """Wrap `function`; `floor` is in tokens."""
        super().__init__(function)
        self.floor = floor

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        """The function's scores, one per completion, those above 0 times tokens / floor."""
        scores = self.function(completion_ids=completion_ids, **columns)
        constraints = columns.get("constraints") or [None] * len(scores)
        floors = [min([self.floor, *_word_limits(of_row)]) for of_row in constraints]
        shares = [
            min(1.0, len(ids) / floor) for ids, floor in zip(completion_ids, floors, strict=True)
        ]
        if log := columns.get("log_metric"):
            log("length/floor", sum(shares) / len(shares))
        return scale_positive(scores, shares)


def _word_limits(constraints: list[dict[str, Any]] | None) -> list[int]:
    """The most words that a row's constraints allow, one number for each that limits them."""
    return [int(one["words"]) for one in constraints or () if one.get("words")]
