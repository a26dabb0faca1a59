"""Reward functions as a recipe asks for them: with a judge before them, and a floor of length.

Shared by every stage that learns from rewards on what its own model writes.
"""

from __future__ import annotations

from typing import Any

import torch

from hfllm.inference.prompts import positions
from hfllm.inference.relevance import ENOUGH, RelevanceJudge, open_judge
from hfllm.modeling.flops import matmul_parameters
from hfllm.rl.rewards import CountedByLength, CountedIfAnswer, load_functions
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_sharded


def open_functions(config: Any, step: Step, args: Any) -> tuple[list[Any], int]:
    """The reward functions, behind the judge and the floor where set, and the judge's size.

    `config` has `reward_functions`, `judge`, `judge_nats`, `length_floor`; `args` is the trainer's.
    The size is in parameters that multiply, twice: an answer takes two passes.
    """
    functions: list[Any] = list(load_functions(config.reward_functions))
    judge_size = 0
    if config.judge:
        judge = open_judge_of(config, step, args)
        functions = [CountedIfAnswer(f, judge) for f in functions]
        # Two passes over each answer, with and without the question.
        judge_size = 2 * matmul_parameters(judge.model)
    if config.length_floor:
        functions = [CountedByLength(f, config.length_floor) for f in functions]
    return functions, judge_size


def open_judge_of(config: Any, step: Step, args: Any) -> RelevanceJudge:
    """The judge of answers, opened; refused where it cannot judge what will be written."""
    if is_sharded(args) and getattr(args.deepspeed_plugin, "zero_stage", 3) == 3:
        raise ValueError(
            f"{step.name}.judge: each process asks it by itself, which a model in shards (ZeRO-3, "
            "FSDP) does not allow; use ddp, zero1 or zero2, or leave it out"
        )
    dtype = torch.bfloat16 if args.bf16 else None
    enough = ENOUGH if config.judge_nats is None else config.judge_nats
    judge = open_judge(step.model_of(config.judge or ""), enough, dtype)
    if (most := positions(judge.model)) <= args.max_completion_length:
        raise ValueError(
            f"{step.name}.judge: {config.judge} has {most} positions, too few for answers of "
            f"trainer.max_completion_length ({args.max_completion_length}) tokens; take another "
            "judge, or lower that"
        )
    return judge
