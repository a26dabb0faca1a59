"""What the stages that compare log-probabilities with a reference share (dpo, kto)."""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.recipe.checks import check_pair_data
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import RowShape
from hfllm.recipe.training import TRAINER_UNCHARTED
from hfllm.training.preference_keys import check_dropout

UNCHARTED = (
    *TRAINER_UNCHARTED,
    "aux_loss",
    "eval_aux_loss",
    "logits/*",
    "eval_logits/*",
    "eval_logps/*",
    "eval_rewards/chosen",
    "eval_rewards/rejected",
)


def check(spec: StepSpec) -> Iterator[str]:
    """Check the keys of `data`, and dropout that trl would switch off."""
    yield from check_pair_data(spec)
    yield from check_dropout(spec)


def row_shape(spec: StepSpec, answers: int) -> RowShape:
    """A prompt with each of its answers; a second model where the reference is not precomputed."""
    config = spec.config
    values = spec.stage.default_values() | config.trainer
    second = not config.peft and not values["precompute_ref_log_probs"]
    tokens = answers * config.data.seq_len
    return RowShape(tokens=tokens, scored=tokens * 6 // 10, fused=True, frozen=int(second))
