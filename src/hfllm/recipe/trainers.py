"""`trainer:` sections -> the libraries' own config objects (the check that costs 3 s of imports).

Value order: library default < hfllm default (`recipe.defaults`) < this machine (bf16, use_cpu)
< the recipe < overrides.
"""

from __future__ import annotations

import importlib
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hfllm.recipe.defaults import default_values
from hfllm.recipe.load import Recipe, RecipeError, StepSpec
from hfllm.recipe.schema import TRAINERS


def trainer_class(stage: str) -> type:
    """The library's config class behind a stage's `trainer:` section."""
    module, name = TRAINERS[stage].split(":")
    return getattr(importlib.import_module(module), name)


def hardware_defaults() -> dict[str, Any]:
    """What this machine decides: bf16 where it has it, the CPU where there is no GPU."""
    import torch

    if torch.cuda.is_available():
        return {"bf16": torch.cuda.is_bf16_supported(), "use_cpu": False}
    return {"bf16": cpu_has_bf16(), "use_cpu": True}


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; elsewhere autocast is slower than fp32."""
    import torch

    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, probe, lambda: False)():
            return True
    return False


def build_trainer_config(spec: StepSpec, seed: int, output_dir: str, **forced: Any) -> Any:
    """The step's TrainingArguments, SFTConfig, RewardConfig or PPOConfig, ready to use.

    `forced` values (a path, a length that the step computed) win over everything.
    Raises ValueError naming the key that the library does not know or take.
    """
    merged = _merge(spec, {"output_dir": output_dir, "seed": seed, **hardware_defaults()}, forced)
    try:
        return OmegaConf.to_object(merged)
    except (ValueError, TypeError) as error:  # from the class's own __post_init__
        raise ValueError(f"{spec.name}.trainer: {_first_line(error)}") from error


def _merge(spec: StepSpec, base: dict[str, Any], forced: dict[str, Any]) -> Any:
    schema = OmegaConf.structured(trainer_class(spec.stage))
    given = spec.config.trainer
    try:
        return OmegaConf.merge(schema, default_values(spec.stage), base, given, forced)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", "") or ""
        raise ValueError(f"{spec.name}.trainer.{key}: {_first_line(error)}") from None


def check_trainers(recipe: Recipe, names: list[str] | None = None) -> None:
    """Build every `trainer:` section once and list all problems; raises RecipeError."""
    problems = []
    for spec in recipe.steps.values():
        if spec.stage in TRAINERS and (names is None or spec.name in names):
            try:
                build_trainer_config(spec, recipe.seed, output_dir=str(recipe.run_dir / spec.name))
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise RecipeError(recipe.path, problems)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
