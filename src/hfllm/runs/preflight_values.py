"""Checks of values that no type can tell: kinds, judges, keys that would do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfllm.recipe.data_schema import CONSTRAINTS, ChatDataConfig, InstructionsConfig
from hfllm.recipe.graph import sources_in, template_file
from hfllm.recipe.load import StepSpec
from hfllm.recipe.model_names import model_name
from hfllm.recipe.schema import (
    ATTENTION,
    OPTIMIZERS,
    PACKED_ATTENTION,
    TASK_KINDS,
    EvaluateConfig,
    PPOStageConfig,
    PretrainConfig,
    SFTStageConfig,
    TrainConfig,
)


def values(spec: StepSpec) -> list[str]:
    """Every problem of a step that its config alone shows."""
    return _tasks(spec) + _kinds(spec) + _judge(spec) + _attention(spec) + _without_effect(spec)


def _tasks(spec: StepSpec) -> list[str]:
    """What the evaluation would refuse only when every model is trained."""
    if not isinstance(spec.config, EvaluateConfig):
        return []
    names = [model_name(model) for model in spec.config.models]
    problems = [
        f"{spec.name}.models: two are called '{name}' in the tables; rename a folder"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for name, task in spec.config.tasks.items():
        where = f"{spec.name}.tasks.{name}.kind"
        if task.kind not in TASK_KINDS:
            problems.append(f"{where}: '{task.kind}' is none of {', '.join(TASK_KINDS)}")
        if task.kind == "preference" and not spec.config.reward:
            problems.append(f"{where}: tests a reward model; name it under {spec.name}.reward")
    best_of = spec.config.best_of or []
    possible = spec.config.reward and spec.config.reference in spec.config.models
    numbers = len(set(best_of)) == len(best_of) and all(1 <= n <= 64 for n in best_of)
    if best_of and not (possible and numbers):
        needs = f"{spec.name}.reward, {spec.name}.reference among its models"
        problems.append(f"{spec.name}.best_of: needs {needs}, and numbers from 1 to 64, each once")
    return problems


def _kinds(spec: StepSpec) -> list[str]:
    """Kinds of constraints that there are not."""
    if not isinstance(spec.config, InstructionsConfig):
        return []
    unknown, known = sorted(set(spec.config.kinds or ()) - set(CONSTRAINTS)), ", ".join(CONSTRAINTS)
    return [f"{spec.name}.kinds: '{kind}' is none of {known}" for kind in unknown]


def _judge(spec: StepSpec) -> list[str]:
    """A judge of PPO's answers without anything to judge, or one that is asked for nothing."""
    config = spec.config
    if not isinstance(config, PPOStageConfig):
        return []
    problems = []
    if config.judge and not config.reward_functions:
        problems.append(f"{spec.name}.judge: weighs reward_functions, and none is set")
    if config.length_floor is not None and not (
        config.reward_functions and config.length_floor > 0
    ):
        problems.append(
            f"{spec.name}.length_floor: tokens, 1 or more, and for reward_functions alone"
        )
    if config.judge_nats is not None and not (config.judge and config.judge_nats >= 0):
        problems.append(
            f"{spec.name}.judge_nats: 0 (the judge only watches) or more, with {spec.name}.judge"
        )
    return problems


def _attention(spec: StepSpec) -> list[str]:
    """An attention that nobody knows, or that would mix the documents of a packed row."""
    config = spec.config
    if not isinstance(config, TrainConfig):
        return []
    key, name = "attn_implementation", config.attn_implementation
    if name and name not in ATTENTION and "/" not in name:
        return [
            f"{spec.name}.{key}: '{name}' is none of {', '.join(ATTENTION)} "
            "and no kernel of the hub (org/name)"
        ]
    if isinstance(config, PretrainConfig) and not config.init:
        if name:
            return [f"{spec.name}.{key}: write it into {spec.name}.model"]
        key, name = f"model.{key}", config.model.get(key)
    packs = isinstance(config, (PretrainConfig, SFTStageConfig))
    if packs and name not in (None, *PACKED_ATTENTION):
        return [
            f"{spec.name}.{key}: {name} is not known to keep the documents of a packed row apart "
            f"(flash attention mixes them); use {' or '.join(PACKED_ATTENTION)}"
        ]
    return []


def _without_effect(spec: StepSpec) -> list[str]:
    """Keys that the step would read past, or that contradict each other."""
    problems, config = [], spec.config
    if spec.stage not in ("pretrain", "sft"):
        for key, source in sources_in(config):
            if source.weight is not None:
                problems.append(
                    f"{spec.name}.{key}.weight: {spec.stage} takes every row once; leave it out, "
                    "or choose rows with `where` or `limit`"
                )
    data: Any = getattr(config, "data", None)
    usual = ChatDataConfig.replay_share
    share = getattr(data, "replay_share", usual)
    if share != usual and not data.replay:
        problems.append(f"{spec.name}.data.replay_share: set {spec.name}.data.replay with it")
    if not 0 < share < 1:
        problems.append(f"{spec.name}.data.replay_share: {share} is no share in (0, 1)")
    if (turns := getattr(data, "turns", None)) not in (None, "all", "last", "each"):
        problems.append(f"{spec.name}.data.turns: '{turns}' is none of all, last, each")
    if (template := template_file(config)) and not Path(template).is_file():
        problems.append(f"{spec.name}.chat_template: '{template}' is none of keep, hfllm, a file")
    if getattr(data, "holdout", 0) and getattr(data, "heldout", None):
        problems.append(f"{spec.name}.data: set heldout or holdout, not both")
    optimizer = getattr(config, "optimizer", None)
    if optimizer not in (None, *OPTIMIZERS):
        known = ", ".join(OPTIMIZERS)
        problems.append(
            f"{spec.name}.optimizer: '{optimizer}' is none of {known}; others: trainer.optim"
        )
    if isinstance(config, TrainConfig) and config.peft:
        if isinstance(config, PretrainConfig):
            problems.append(f"{spec.name}.peft: pretrain trains every weight; leave it out")
        elif optimizer == "muon":
            problems.append(f"{spec.name}.optimizer: muon with peft is not supported; leave it out")
    return problems
