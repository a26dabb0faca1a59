"""Load a recipe: a YAML file and its overrides -> typed stage configs, all problems at once.

Order, cheapest first: YAML -> overrides -> interpolation -> stages and keys (OmegaConf structured
configs) -> references between steps and their order. The stages are an argument; this module knows
none by name. torch and trl are not imported: `recipe.trainers` checks the `trainer:` sections,
`runs.preflight` files and sizes.
`vars` maps names to values that the recipe uses more than once: {data: ../data} is ${vars.data}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hfllm.recipe.config import TrainConfig
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import RecipeError, first_line
from hfllm.recipe.graph import Graph, order_steps, parents_of
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import Stage, Stages
from hfllm.recipe.typed import typed_config

RESERVED = ("name", "run_dir", "seed", "launch", "track", "vars")
LAUNCH = ("config", "accelerate_args")  # an accelerate config file, or options of the launcher
TRACK = ("report_to", "run_name", "project")  # named as in TrainingArguments
NOT_A_MAPPING = "a recipe is a mapping of steps; this file is not a mapping"


def load_recipe(path: Path | str, stages: Stages, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe, apply the overrides, check it.

    Args:
        path: the YAML file.
        stages: the stages that its steps may name.
        overrides: items "step.key=value"; a later one wins.

    Raises:
        RecipeError: with every problem found, one line each.
    """
    path, overrides = Path(path), list(overrides or [])
    top = _read_yaml(path, overrides)
    problems: list[str] = []
    steps: dict[str, StepSpec] = {}
    for name, section in top.items():
        if name in RESERVED:
            continue
        spec = _step(name, section, stages, problems)
        if spec:
            steps[name] = spec
    problems += _reserved_problems(top, path)
    if not steps and not problems:
        problems.append(f"no steps; add one of {', '.join(stages)}")
    graph = Graph(
        steps=steps,
        broken={n for n in top if n not in RESERVED and n not in steps},
    )
    for spec in steps.values():
        spec.parents, found = parents_of(graph, spec)
        problems += found
    order, found = order_steps(steps)
    problems += found
    if problems:
        raise RecipeError(path, problems)
    name = str(top.get("name") or path.stem)
    _track(top.get("track") or {}, name, steps)
    return Recipe(
        path=path,
        name=name,
        run_dir=Path(top.get("run_dir") or "runs") / name,
        seed=int(top.get("seed") or 0),
        steps={n: steps[n] for n in order},
        stages=stages,
        launch=top.get("launch") or {},
        track=top.get("track") or {},
        overrides=overrides,
        resolved=top,
    )


def _track(track: dict[str, Any], name: str, steps: dict[str, StepSpec]) -> None:
    """Copy `track:` into the `trainer:` of every training step; a step's own keys win."""
    for spec in steps.values():
        if track and hasattr(spec.config, "trainer"):
            shared = {"run_name": f"{name}/{spec.name}", **track}
            spec.config.trainer = shared | spec.config.trainer


def _read_yaml(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The recipe as plain dicts and lists, overrides merged and interpolations resolved."""
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("configs")
        hint = did_you_mean(path.name, [p.name for p in folder.glob("*.yaml")])
        raise RecipeError(path, [f"no such recipe file.{hint}"])
    try:
        config = OmegaConf.load(path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise RecipeError(path, [f"{where}not valid YAML: {what}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        scalar = isinstance(error, OSError) and error.errno is None  # OmegaConf raises this
        raise RecipeError(path, [NOT_A_MAPPING if scalar else f"cannot be read: {error}"]) from None
    if not OmegaConf.is_dict(config):
        raise RecipeError(path, [NOT_A_MAPPING])
    changes = [parse_override(item, path) for item in overrides]
    key = ""
    try:
        for key, value in changes:
            OmegaConf.update(config, key, value, merge=True)
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except (OmegaConfBaseException, TypeError, AssertionError) as error:
        where = getattr(error, "full_key", None) or key
        raise RecipeError(path, [f"{where}: {first_line(error)}"]) from None


def parse_override(item: str, path: Path | str = "") -> tuple[str, Any]:
    """`step.key=value` -> (dotted key, value read as YAML); RecipeError if it has another form."""
    key, equals, text = item.partition("=")
    if not equals or item.startswith("-") or not all(key.split(".")):
        raise RecipeError(path, [f"override {item!r} is not of the form step.key=value"])
    try:
        return key, OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index, call-overload]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        what = getattr(error, "problem", None) or first_line(error)
        raise RecipeError(
            path, [f"override {item!r}: the value is not valid YAML: {what}"]
        ) from None


def _reserved_problems(top: dict[str, Any], path: Path) -> list[str]:
    """Problems in the top-level keys that are not steps."""
    problems = []
    seed, run_dir = top.get("seed", 0), top.get("run_dir")
    if not isinstance(seed, int) or isinstance(seed, bool):
        problems.append(f"seed: {seed!r} is not a whole number")
    if run_dir is not None and not isinstance(run_dir, str):
        problems.append(f"run_dir: {run_dir!r} is not a folder's path")
    for key in ("launch", "track", "vars"):
        if not isinstance(top.get(key) or {}, dict):
            problems.append(f"{key}: must be a mapping")
    launch = top.get("launch")
    arguments = launch.get("accelerate_args") if isinstance(launch, dict) else None
    if arguments is not None and not isinstance(arguments, list):
        problems.append(f"launch.accelerate_args: {arguments!r} is not a list: [--multi_gpu, ...]")
    for section, keys in (("launch", LAUNCH), ("track", TRACK)):
        given = top.get(section)
        for key in given if isinstance(given, dict) else ():
            if key not in keys:
                hint = f"{did_you_mean(str(key), keys)} Known: {', '.join(keys)}"
                problems.append(f"{section}.{key}: no such key.{hint}")
    name = top.get("name") or path.stem
    if not isinstance(name, str | int) or "/" in str(name) or str(name).startswith("."):
        problems.append(f"name: {name!r} must be a plain folder name (set run_dir for the place)")
    return problems


def _step(name: str, section: Any, stages: Stages, problems: list[str]) -> StepSpec | None:
    section = {} if section is None else section
    if not isinstance(section, dict):
        hint = did_you_mean(str(name), RESERVED)
        problems.append(f"{name}: a step is a mapping, not {section!r}.{hint}")
        return None
    given = dict(section)
    try:
        stage = _stage(name, given.pop("stage", None), stages)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return None
    config, found = typed_config(name, stage.config, given)
    problems += found
    return None if found else StepSpec(name, stage, config, given)


def _stage(step: str, key: Any, stages: Stages) -> Stage:
    """The stage named by the step's key `stage`, else by the step itself; ValueError if unknown."""
    name = step if key is None else key
    is_module = "." in str(name)  # only the key `stage` may name a module
    if isinstance(name, str) and not (key is None and is_module):
        try:
            stage = stages[name]
            if stage.trains and not issubclass(stage.config, TrainConfig):
                raise ValueError(f"stage '{name}' has a trainer: its config must be a TrainConfig")
            return stage
        except KeyError:
            pass
    what = f"'{step}' is not a stage" if key is None else f"unknown stage '{name}'"
    hint = did_you_mean(str(name), (*stages, *RESERVED))
    known = ", ".join(stages)
    raise ValueError(f"{what}.{hint} Stages: {known}; others need `stage:`")
