"""Every key of TRL's DPOConfig and KTOConfig: it works, needs another one, or is refused, and why.

A key that would do nothing is refused: a user who sets it expects something of it. Keys in
`ELSEWHERE` are refused whatever their value (`Stage.set_elsewhere`).
tests/training/test_preference_keys.py fails when TRL adds a key that is not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.ranges import (
    ABOVE_0,
    ANY,
    AT_LEAST_1,
    NOT_NEGATIVE,
    SHARE,
    Range,
    table_problems,
)
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.training import TRL_ELSEWHERE, TRL_RANGES

_OF_INIT = "the model is loaded from `init`: set attn_implementation or peft"
_REFERENCE = "the reference is not in checkpoints, so a resumed run would have the first one again"
_OF_BOTH = TRL_ELSEWHERE | {
    "max_length": "set the step's data.seq_len",
    "dataset_num_proc": "hfllm tokenizes the rows itself, in one process",
    "model_init_kwargs": _OF_INIT,
    "trust_remote_code": "models with code of their own are not supported",
    "sync_ref_model": _REFERENCE,
    "ref_model_mixup_alpha": _REFERENCE,
    "ref_model_sync_steps": _REFERENCE,
    "label_smoothing_factor": "there are no labels; label_smoothing is the key of some losses",
    "neftune_noise_alpha": "the noise would count as distance from the reference, which has none",
}
DPO_ELSEWHERE = _OF_BOTH | {
    "truncation_mode": "nothing is truncated: rows above data.seq_len are dropped and counted",
    "padding_free": "trl ignores it at present: rows are padded, those of like length together",
}
KTO_ELSEWHERE = _OF_BOTH | {
    "train_sampling_strategy": "a row is compared with others of its step, so their order is set",
    "label_smoothing_factor": "there are no labels of tokens",
}

# They mean what they do in DPOConfig and KTOConfig.
DPO_WORKS = (
    "router_aux_loss_coef", "disable_dropout", "pad_to_multiple_of", "precompute_ref_log_probs",
    "loss_type", "loss_weights", "ld_alpha", "f_divergence_type", "beta", "use_weighting",
    "activation_offloading",
)  # fmt: skip
KTO_WORKS = (
    "router_aux_loss_coef", "disable_dropout", "pad_to_multiple_of", "precompute_ref_log_probs",
    "loss_type", "beta", "desirable_weight", "undesirable_weight", "activation_offloading",
)  # fmt: skip
# {key: (the key and its values, one of which must be set, or it has no effect)}
DPO_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "precompute_ref_batch_size": ("precompute_ref_log_probs", (True,)),
    "f_alpha_divergence_coef": ("f_divergence_type", ("alpha_divergence",)),
    "discopop_tau": ("loss_type", ("discopop",)),
    "label_smoothing": ("loss_type", ("robust", "exo_pair", "aot", "aot_unpaired")),
}
KTO_NEEDS = {"precompute_ref_batch_size": DPO_NEEDS["precompute_ref_batch_size"]}

DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
SORTING = ("aot", "aot_unpaired")  # they compare the sorted log ratios of a micro-batch
F_DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")
OF_THE_DIFFERENCE = (  # the only losses that take another f-divergence
    "sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft",
)  # fmt: skip

DPO_RANGES: dict[str, Range] = TRL_RANGES | {
    "beta": ABOVE_0,
    "ld_alpha": SHARE,
    "discopop_tau": ABOVE_0,
    "precompute_ref_batch_size": AT_LEAST_1,
    "router_aux_loss_coef": NOT_NEGATIVE,
    "loss_weights": ANY,
    "f_alpha_divergence_coef": ANY,
}
KTO_LOSSES = ("kto", "apo_zero_unpaired")
KTO_RANGES: dict[str, Range] = TRL_RANGES | {
    "beta": ABOVE_0,
    "desirable_weight": ABOVE_0,
    "undesirable_weight": ABOVE_0,
    "precompute_ref_batch_size": AT_LEAST_1,
    "router_aux_loss_coef": NOT_NEGATIVE,
}


def check_dropout(spec: StepSpec) -> Iterator[str]:
    """An adapter's dropout, which trl sets to 0 with all other dropout, without a word."""
    config: Any = spec.config
    if (config.peft or {}).get("lora_dropout") and config.trainer.get("disable_dropout", True):
        yield (
            "peft.lora_dropout: trl switches all dropout off, so that the model differs from its "
            f"reference by training alone; leave it out, or set {spec.name}.trainer."
            "disable_dropout: false"
        )


def dpo_problems(config: Any) -> Iterator[str]:
    """One line for each key of a DPOConfig that DPO cannot use as it is set."""
    losses = config.loss_type
    for name in losses:
        if name not in DPO_LOSSES:
            hint = did_you_mean(str(name), DPO_LOSSES)
            yield f"loss_type={name}; use one of {', '.join(DPO_LOSSES)}.{hint}"
    yield from _no_effect(config, DPO_NEEDS)
    yield from table_problems(vars(config), DPO_RANGES)
    yield from _smoothing(config.label_smoothing, losses)
    if config.f_divergence_type not in F_DIVERGENCES:
        yield f"f_divergence_type={config.f_divergence_type}; use one of {', '.join(F_DIVERGENCES)}"
    wrong = [name for name in losses if name not in OF_THE_DIFFERENCE]
    if config.f_divergence_type != "reverse_kl" and wrong:
        yield (
            f"f_divergence_type={config.f_divergence_type}: loss_type {wrong[0]} has no such form; "
            f"use one of {', '.join(OF_THE_DIFFERENCE)}"
        )
    if sorting := [name for name in losses if name in SORTING]:
        if config.use_weighting:
            yield f"use_weighting: {sorting[0]} sorts the pairs, so no weight belongs to one"
        if config.per_device_train_batch_size < 2:
            yield f"per_device_train_batch_size=1: {sorting[0]} compares the pairs of a micro-batch"


def kto_problems(config: Any) -> Iterator[str]:
    """One line for each key of a KTOConfig that KTO cannot use as it is set."""
    if config.loss_type not in KTO_LOSSES:
        yield f"loss_type={config.loss_type}; use one of {', '.join(KTO_LOSSES)}"
    yield from _no_effect(config, KTO_NEEDS)
    yield from table_problems(vars(config), KTO_RANGES)


def _smoothing(value: float, losses: list[str]) -> Iterator[str]:
    """The values of `label_smoothing` that the losses take."""
    if "exo_pair" in losses and not 0 < value < 1:
        yield f"label_smoothing={value}: exo_pair needs one above 0, below 1; its paper has 1e-3"
    elif "robust" in losses and not 0 <= value < 0.5:
        yield f"label_smoothing={value}: the share of wrong labels; use a value from 0, below 0.5"
    elif not 0 <= value <= 1:
        yield f"label_smoothing={value}; use a value from 0 to 1"


def _no_effect(config: Any, needs: dict[str, tuple[str, tuple[Any, ...]]]) -> Iterator[str]:
    for item in dataclasses.fields(config):
        if item.name not in needs or getattr(config, item.name) == item.default:
            continue
        key, values = needs[item.name]
        there = getattr(config, key)
        if not set(there if isinstance(there, list) else [there]) & set(values):
            yield f"{item.name}: it has no effect without {key}={' or '.join(map(str, values))}"
