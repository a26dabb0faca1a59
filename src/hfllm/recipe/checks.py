"""Checks of values that no type can tell and the config alone shows; a stage adds its own.

Each takes a step's spec and yields lines "key: what is wrong; what to do", which `value_problems`
puts the step's name before. `check_config` runs for every step; those with `packed`, `chat`,
`pair` or `reward` in their names are for the stages to call from their own `check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfllm.recipe.config import ChatDataConfig, PairDataConfig, TrainConfig
from hfllm.recipe.graph import named_files, sources_in
from hfllm.recipe.recipe import StepSpec

OPTIMIZERS = ("muon",)  # beside the library's own, which `trainer.optim` names
ATTENTION = (  # transformers' own; beside them kernels of the hub, org/name
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4",
    "flex_attention",
)  # fmt: skip
PACKED_ATTENTION = ("eager", "sdpa")  # measured to keep the documents of a packed row apart


def value_problems(spec: StepSpec) -> list[str]:
    """Every problem of a step that its config alone shows."""
    lines = [*check_config(spec), *spec.stage.check(spec)]
    return [f"{spec.name}.{line}" for line in lines]


def check_config(spec: StepSpec) -> Iterator[str]:
    """Keys that every stage may have: weights, files, and what training steps share."""
    if not spec.stage.mixes:
        for key, source in sources_in(spec.config):
            if source.weight is not None:
                yield (
                    f"{key}.weight: {spec.stage.name} takes every row once; leave it out, or "
                    "choose rows with `where` or `limit`"
                )
    for key, file in named_files(spec.config):
        if not Path(file).is_file():
            words = spec.config.__dataclass_fields__[key].metadata["file_ref"]
            yield f"{key}: '{file}' is none of {', '.join([*words, 'a file'])}"
    if isinstance(spec.config, TrainConfig):
        yield from _training(spec.config)


def _training(config: TrainConfig) -> Iterator[str]:
    attention = config.attn_implementation
    if not is_known_attention(attention):
        yield (
            f"attn_implementation: '{attention}' is none of {', '.join(ATTENTION)} "
            "and no kernel of the hub (org/name)"
        )
    optimizer = getattr(config, "optimizer", None)
    if optimizer not in (None, *OPTIMIZERS):
        known = ", ".join(OPTIMIZERS)
        yield f"optimizer: '{optimizer}' is none of {known}; others: trainer.optim"
    elif optimizer == "muon" and config.peft:
        yield "optimizer: muon with peft is not supported; leave it out"


def is_known_attention(name: str | None) -> bool:
    """Whether `check_config` takes the name: transformers' own, or a kernel of the hub."""
    return name is None or name in ATTENTION or "/" in name


def check_packed_attention(key: str, name: str | None) -> Iterator[str]:
    """An attention that would mix the documents of a packed row; `key` is where it is set."""
    if name not in (None, *PACKED_ATTENTION):
        yield (
            f"{key}: {name} is not known to keep the documents of a packed row apart "
            f"(flash attention mixes them); use {' or '.join(PACKED_ATTENTION)}"
        )


def check_chat_data(spec: StepSpec) -> Iterator[str]:
    """Keys of chats that contradict each other or say nothing."""
    data: ChatDataConfig = spec.config.data
    if data.replay_share != ChatDataConfig.replay_share and not data.replay:
        yield f"data.replay_share: set {spec.name}.data.replay with it"
    if not 0 < data.replay_share < 1:
        yield f"data.replay_share: {data.replay_share} is no share in (0, 1)"
    if data.turns not in (None, "all", "last", "each"):
        yield f"data.turns: '{data.turns}' is none of all, last, each"


def check_pair_data(spec: StepSpec) -> Iterator[str]:
    """Two ways of holding pairs out at once."""
    data: PairDataConfig = spec.config.data
    if data.holdout and data.heldout:
        yield "data: set heldout or holdout, not both"


def check_reward_keys(spec: StepSpec) -> Iterator[str]:
    """Keys of the judge and the length floor that have no reward function to act on."""
    config: Any = spec.config
    if config.judge and not config.reward_functions:
        yield "judge: weighs reward_functions, and none is set"
    if config.length_floor is not None and not (
        config.reward_functions and config.length_floor > 0
    ):
        yield "length_floor: tokens, 1 or more, and for reward_functions alone"
    if config.judge_nats is not None and not (config.judge and config.judge_nats >= 0):
        yield f"judge_nats: 0 (the judge only watches) or more, with {spec.name}.judge"
