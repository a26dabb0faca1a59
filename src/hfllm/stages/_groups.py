"""What the stages on groups of answers share (grpo, rloo), besides what is in _rollouts.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import RowShape
from hfllm.runs.manifest import Manifest
from hfllm.stages import _rollouts
from hfllm.stages._rollouts import Prepared

ELSEWHERE = _rollouts.ELSEWHERE | {"num_generations_eval": "no prompts are held out here"}


def check(spec: StepSpec) -> Iterator[str]:
    """The checks of any rollout, and groups of answers that do not fill one."""
    from hfllm.rl.group_size import problems

    yield from _rollouts.check(spec)
    yield from problems(spec)


def row(spec: StepSpec) -> RowShape | None:
    """A prompt and an answer, which shares an optimizer step with the others to its prompt."""
    values = spec.stage.default_values() | spec.config.trainer
    answers = values["num_generations"]
    together = answers if isinstance(answers, int) and answers > 1 else 1
    return _rollouts.row_shape(spec, copies=1, together=together)


def build(made: Prepared, trainer_class: Any, manifest: Manifest) -> tuple[Any, Any]:
    """Build a trainer on groups of answers (GRPO, RLOO) and tell `fit` about it.

    Args:
        made: of `prepare`.
        trainer_class: of rl/group_trainer.py.
        manifest: gets the trainer's notes, those made while training too.
    """
    from hfllm.modeling.flops import group_flops_per_token
    from hfllm.training.fit import TrainingInfo

    args = made.args
    trainer = trainer_class(
        model=made.policy,
        reward_funcs=made.rewards,
        args=args,
        train_dataset=made.prompts,
        processing_class=made.tokenizer,
        peft_config=made.adapter,
    )
    manifest.notes += trainer.notes
    trainer.notes = manifest.notes
    times = 1 + trainer.scores_old_answers + (args.beta != 0)
    info = TrainingInfo(
        tokenizer=made.tokenizer,
        end_ids=made.ends,
        flops_per_token=group_flops_per_token(
            made.policy_size, made.judge_size, args.num_iterations, times
        ),
        passes=made.passes(),
        extra={"prompts": len(made.prompts)},
    )
    return trainer, info
