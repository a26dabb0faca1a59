"""Check config values beyond their types: names, ranges, combinations of keys, files.

Each check takes a step's spec and yields lines "key: what is wrong; what to do"; `value_problems`
puts the step's name before each line. `check_config` runs for every step. A stage's own `check`
calls those it needs of `check_packed_attention`, `check_no_cache`, `check_chat_data`,
`check_pair_data` and `check_reward_keys`. Only the config and the existence of files are read;
nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfllm.recipe.config import ChatDataConfig, LabelledDataConfig, PairDataConfig, TrainConfig
from hfllm.recipe.graph import file_references, sources_in
from hfllm.recipe.ranges import range_problems
from hfllm.recipe.recipe import StepSpec

OPTIMIZERS = ("muon",)  # values of `optimizer`; the library's own are set by `trainer.optim`
ATTENTION = (  # transformers' own names; kernels of the hub (org/name) are accepted too
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4",
    "flex_attention",
)  # fmt: skip
PACKED_ATTENTION = ("eager", "sdpa")  # measured: no attention between documents of a packed row


def value_problems(spec: StepSpec) -> list[str]:
    """All problems in the values of one step's config, one line each."""
    lines = [*check_config(spec), *spec.stage.check(spec)]
    return [spec.line(line) for line in lines]


def check_config(spec: StepSpec) -> Iterator[str]:
    """Check the keys that any stage may have: source weights, files, shared training keys."""
    yield from range_problems(spec.config)
    if not spec.stage.mixes:
        for key, source in sources_in(spec.config):
            if source.weight is not None:
                yield (
                    f"{key}.weight: {spec.stage.name} does not mix sources by weight; leave it "
                    "out, or choose rows with `where` or `limit`"
                )
    for key, file in file_references(spec.config):
        if not Path(file).is_file():
            keywords = spec.config.__dataclass_fields__[key].metadata["file_ref"]
            yield f"{key}: '{file}' is none of {', '.join([*keywords, 'a file'])}"
    if isinstance(spec.config, TrainConfig):
        yield from _check_training(spec.config)


def _check_training(config: TrainConfig) -> Iterator[str]:
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
    """Whether the name is unset, one of transformers' own, or a kernel of the hub (org/name)."""
    return name is None or name in ATTENTION or "/" in name


def check_packed_attention(key: str, name: str | None) -> Iterator[str]:
    """Refuse attention that may mix the documents of a packed row; `key` is where it is set."""
    if name not in (None, *PACKED_ATTENTION):
        yield (
            f"{key}: {name} is not known to keep the documents of a packed row apart "
            f"(flash attention mixes them); use {' or '.join(PACKED_ATTENTION)}"
        )


def check_no_cache(spec: StepSpec) -> Iterator[str]:
    """Refuse `use_cache`: transformers ignores the positions of packed rows while it is on."""
    if spec.config.trainer.get("use_cache"):
        yield (
            "trainer.use_cache: with a cache the documents of a packed row see each other; "
            "leave it out"
        )


def check_chat_data(spec: StepSpec) -> Iterator[str]:
    """Check `data` of chats: keys that contradict each other or have no effect."""
    data: ChatDataConfig = spec.config.data
    if data.replay_share != ChatDataConfig.replay_share and not data.replay:
        yield f"data.replay_share: set {spec.name}.data.replay with it"
    if data.turns not in (None, "all", "last", "each"):
        yield f"data.turns: '{data.turns}' is none of all, last, each"


def check_pair_data(spec: StepSpec) -> Iterator[str]:
    """Check `data` of pairs or labelled answers: `heldout` and `holdout` exclude each other."""
    data: PairDataConfig | LabelledDataConfig = spec.config.data
    if data.holdout and data.heldout:
        yield "data: set heldout or holdout, not both"


def check_answer_length(spec: StepSpec) -> Iterator[str]:
    """Answers without a longest length, which TRL would take and no memory holds."""
    values = spec.stage.default_values() | getattr(spec.config, "trainer", {})
    if values["max_completion_length"] is None:
        yield "trainer.max_completion_length: null; set the longest answer, in tokens"


def check_reward_keys(spec: StepSpec) -> Iterator[str]:
    """Keys of the judge and the length floor that have no reward function to act on."""
    config: Any = spec.config
    if not config.reward and not config.reward_functions:
        yield f"reward: set a reward model (a step or folder), or {spec.name}.reward_functions"
    if config.judge and not config.reward_functions:
        yield "judge: weights reward_functions, and none is set; set some, or remove the judge"
    if config.length_floor is not None and not config.reward_functions:
        yield f"length_floor: it acts on {spec.name}.reward_functions, and none is set"
    if config.judge_nats is not None and not config.judge:
        yield f"judge_nats: it acts on {spec.name}.judge, which is not set"
    in_trainer = hasattr(config, "trainer")
    key = "trainer.reward_weights" if in_trainer else "reward_weights"
    weights = config.trainer.get("reward_weights") if in_trainer else config.reward_weights
    given = [*([config.reward] if config.reward else []), *config.reward_functions]
    if isinstance(weights, list) and len(weights) != len(given):
        yield (
            f"{key}: {len(weights)} weights for {len(given)} reward(s) "
            f"({', '.join(given)}); give each of them one"
        )
