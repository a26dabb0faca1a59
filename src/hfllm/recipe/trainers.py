"""Build the libraries' config objects (TrainingArguments and the like) from `trainer:` sections.

Values, later wins: library default, the stage's default, this machine (bf16, use_cpu), what was
chosen for the step's model (`StepSpec.chosen`), the launch line (launch_line.py), the recipe,
overrides. Building them is also the check of these sections; it costs about 3 s of imports, so it
comes after the cheap checks.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Container, Iterator
from typing import Any

from omegaconf import OmegaConf

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import RecipeError, first_line
from hfllm.recipe.launch_line import Asked, asked_here
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import Stage
from hfllm.recipe.trainer_values import number_problems, value_problem
from hfllm.recipe.training import TRAINER_ELSEWHERE
from hfllm.recipe.typed_config import key_problem


def trainer_class(stage: Stage) -> type:
    """Import the library's config class that a stage names for its `trainer:` section."""
    assert stage.trainer is not None, stage.name
    module, name = stage.trainer.split(":")
    return getattr(importlib.import_module(module), name)


def hardware_defaults() -> dict[str, Any]:
    """Values that depend on the machine: bf16 if the hardware has it, use_cpu without a GPU."""
    import torch

    if torch.cuda.is_available():
        return {"bf16": torch.cuda.is_bf16_supported(), "use_cpu": False}
    return {"bf16": cpu_has_bf16(), "use_cpu": True}


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; if not, autocast is slower than fp32."""
    import torch

    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, probe, lambda: False)():
            return True
    return False


def build_trainer_config(spec: StepSpec, seed: int, output_dir: str, **forced: Any) -> Any:
    """Build the step's config object, an instance of the stage's trainer class.

    Args:
        spec: the step; `spec.config.trainer` holds the keys of the recipe and the overrides.
        seed: the default of the key `seed`.
        output_dir: the folder for checkpoints.
        **forced: values that the stage computed (a path, a length); they win over all others.

    Raises:
        ValueError: one line for each key that the class does not know, refuses, or that is set
            elsewhere.
    """
    schema = OmegaConf.structured(trainer_class(spec.stage))
    given = {installed_key(k, schema): _unquoted_no(k, v) for k, v in spec.config.trainer.items()}
    asks = launch_asks(spec)
    problems = [*_key_problems(spec, schema, given), *_contradictions(spec, schema, asks, given)]
    if problems:
        raise ValueError("\n".join(problems))
    wanted = {one.key: one.value for one in asks if one.key in schema}
    base = {"output_dir": output_dir, "seed": seed, **_machine(wanted | given)}
    ours = {installed_key(key, schema): v for key, v in spec.stage.default_values().items()}
    chosen = {key: value for key, (value, _) in spec.chosen.items()}
    values = (ours, base, chosen, wanted, given, spec.forced, forced)
    merged = OmegaConf.merge(schema, *values)
    if problems := list(number_problems(spec.stage, merged)):
        raise ValueError("\n".join(f"{spec.name}.trainer.{problem}" for problem in problems))
    try:
        config = OmegaConf.to_object(merged)
    except Exception as error:  # the class's __post_init__ may raise anything
        raise ValueError(f"{spec.name}.trainer{_refused_value(error, given)}") from error
    problem = value_problem(spec.stage, config)
    if problem:
        raise ValueError(f"{spec.name}.trainer.{problem}")
    return config


def launch_asks(spec: StepSpec) -> list[Asked]:
    """What the launch of this process, or the recipe's `launch:`, asks of the step's trainer."""
    return asked_here(spec.launch_words)


def _machine(given: dict[str, Any]) -> dict[str, Any]:
    """The machine's defaults that agree with the given keys: one precision, that of the device."""
    found = hardware_defaults()
    if given.get("use_cpu") and not found["use_cpu"]:
        found["bf16"] = cpu_has_bf16()
    if given.get("fp16"):
        found["bf16"] = False
    return found


def _contradictions(
    spec: StepSpec, schema: Any, asks: list[Asked], given: dict[str, Any]
) -> Iterator[str]:
    """One line for each key that the recipe sets to another value than the launch asks for."""
    for one in asks:
        if one.key not in given or key_problem(schema, one.key, given[one.key]):
            continue
        ours, theirs = (
            getattr(OmegaConf.merge(schema, {one.key: value}), one.key)
            for value in (given[one.key], one.value)
        )
        if ours != theirs:
            yield (
                f"{spec.name}.trainer.{one.key}: {ours}, but the launch asks for {theirs} "
                f"({one.where}); leave one of them out"
            )


def _refused_value(error: Exception, given: dict[str, Any]) -> str:
    """`.key: ...` on a value that the class refused; of a name, the nearest that it knows."""
    line = " ".join(str(error).split()) or type(error).__name__
    found = re.match(r"(.+?) is not a valid (\w+), please select one of (.+)", line)
    if not found:
        return f": {first_line(error)}"
    value, _, names = found.groups()
    known = re.findall(r"'([^']+)'", names)
    key = next((f".{key}" for key, v in given.items() if str(v) == value), "")
    hint = did_you_mean(value, known)
    return f"{key}: no such name: '{value}'.{hint} Known: {', '.join(known)}"


def installed_key(key: str, fields: Container[str]) -> str:
    """The name of a key in the installed transformers, which renamed it between versions.

    The new name if both are fields: the old one is read only if the new one is unset, and our
    defaults set it.
    """
    old, new = "gradient_checkpointing", "activation_checkpointing"
    names = (key.replace(old, new), key.replace(new, old))
    return next((name for name in names if name in fields), key)


def _unquoted_no(key: str, value: Any) -> Any:
    """Turn false back into "no" for the `*_strategy` keys: YAML reads an unquoted `no` as false."""
    return "no" if value is False and key.endswith("_strategy") else value


def _key_problems(spec: StepSpec, schema: Any, given: dict[str, Any]) -> Iterator[str]:
    """One line for each key that the class does not know, refuses, or that is set elsewhere."""
    for key, value in given.items():
        elsewhere = TRAINER_ELSEWHERE | dict(spec.stage.set_elsewhere)
        problem = elsewhere.get(key) or key_problem(schema, key, value)
        if key == "use_cpu" and value is False and hardware_defaults()["use_cpu"]:
            problem = "false, and torch finds no GPU here; leave it out"
        if problem:
            yield f"{spec.name}.trainer.{key}: {problem}"


def peft_problem(spec: StepSpec) -> str | None:
    """One line on the first key of `peft:` that LoraConfig lacks or whose number is none."""
    if not spec.config.peft:
        return None
    import inspect

    from peft import LoraConfig

    known = inspect.signature(LoraConfig).parameters
    unknown = next((key for key in spec.config.peft if key not in known), None)
    if unknown is not None:
        hint = did_you_mean(unknown, known)
        return f"{spec.name}.peft.{unknown}: no key of peft.LoraConfig.{hint}"
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float)}
    for key, value in spec.config.peft.items():
        annotation = known[key].annotation
        kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if kind in kinds and (isinstance(value, bool) or not isinstance(value, kinds[kind])):
            words = "a whole number" if kind == "int" else "a number"
            return f"{spec.name}.peft.{key}: {value!r} is not {words}"
    return None


def check_trainers(recipe: Recipe, names: list[str] | None = None) -> None:
    """Build the `trainer:` section of every training step, or of those in `names`.

    Raises:
        RecipeError: with the problems of all these sections.
    """
    problems = []
    for spec in recipe.steps.values():
        if spec.stage.trains and (names is None or spec.name in names):
            try:
                build_trainer_config(spec, recipe.seed, output_dir=str(recipe.run_dir / spec.name))
            except ValueError as error:
                problems += str(error).splitlines()
            problems += [problem] if (problem := peft_problem(spec)) else []
    if problems:
        raise RecipeError(recipe.path, problems)
