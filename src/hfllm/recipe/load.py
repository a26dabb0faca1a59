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

from hfllm.recipe.config import TrainConfig
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.graph import Graph, imply_nulls, order_steps, parents_of
from hfllm.recipe.names import (
    case_clashes,
    run_dir_problem,
    run_name_problem,
    step_name_problem,
)
from hfllm.recipe.ranges import not_finite
from hfllm.recipe.read_yaml import read_yaml
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.spelling import Spelling, spelling_of
from hfllm.recipe.stage import Stage, Stages
from hfllm.recipe.typed_config import misread_numbers, typed_config

RESERVED = ("name", "run_dir", "seed", "launch", "track", "vars")
# methods that people look for: where no stage has such a name, it is no typo of another's. A stage
# of the name is found first
METHODS = ("dpo", "grpo", "kto", "orpo", "simpo", "rloo", "ipo", "cpo", "gkd", "prm", "dapo",
           "gspo", "distill", "rlhf", "rlvr", "lora", "qlora", "dora", "vlm")  # fmt: skip
LAUNCH = ("config", "accelerate_args")  # an accelerate config file, or options of the launcher
TRACK = ("report_to", "run_name", "project")  # named as in TrainingArguments


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
    top, spelling = read_yaml(path, overrides), spelling_of(path, overrides)
    top["track"] = _trackers(top.get("track"))
    if problems := list(not_finite("", top)):
        raise RecipeError(path, problems)
    steps: dict[str, StepSpec] = {}
    for name, section in top.items():
        if name in RESERVED:
            continue
        if problem := step_name_problem(name):
            shown = name if isinstance(name, str) and name.isprintable() else repr(name)
            problems.append(f"{shown}: {problem}")
            continue
        spec = _step(name, section, stages, spelling, problems)
        if spec:
            steps[name] = spec
    problems += [*_reserved_problems(top, path, spelling), *case_clashes(steps)]
    if not steps and not problems:
        problems.append(f"no steps; add one of {', '.join(stages)}")
    graph = Graph(
        steps=steps,
        broken={n for n in top if n not in RESERVED and n not in steps},
    )
    for spec in steps.values():
        imply_nulls(graph, spec)
        spec.parents, found = parents_of(graph, spec)
        problems += found
    order, found = order_steps(steps)
    problems += found
    if problems:
        raise RecipeError(path, problems)
    launch = top.get("launch") or {}
    for spec in steps.values():
        spec.launch_words = launch_words(launch)
    name = str(_given(top, "name", path.stem))
    _track(top["track"], name, steps)
    return Recipe(
        path=path,
        name=name,
        run_dir=Path(_given(top, "run_dir", "runs")).expanduser() / name,
        seed=int(top.get("seed") or 0),
        steps={n: steps[n] for n in order},
        stages=stages,
        launch=launch,
        track=top["track"],
        overrides=overrides,
        resolved=top,
    )


def launch_words(launch: dict[str, Any]) -> list[str]:
    """The options of `accelerate launch` that the recipe's `launch:` gives; empty without it."""
    file = ["--config_file", str(launch["config"])] if launch.get("config") else []
    return file + [str(word) for word in launch.get("accelerate_args") or []]


def _trackers(track: Any) -> Any:
    """`track: wandb` and `track: [wandb, tensorboard]` are short for `track: {report_to: ...}`."""
    words = track if isinstance(track, list) else [track]
    if track and all(isinstance(word, str) for word in words):
        return {"report_to": words}
    return track or {}


def _track(track: dict[str, Any], name: str, steps: dict[str, StepSpec]) -> None:
    """Copy `track:` into the `trainer:` of every training step; a step's own keys win."""
    for spec in steps.values():
        if track and hasattr(spec.config, "trainer"):
            shared = {"run_name": f"{name}/{spec.name}", **track}
            spec.config.trainer = shared | spec.config.trainer


def _reserved_problems(top: dict[str, Any], path: Path, spelling: Spelling) -> list[str]:
    """Problems in the top-level keys that are not steps."""
    problems = [
        problem
        for key in ("name", "run_dir")
        for problem in misread_numbers(key, top.get(key), spelling)
    ]
    seed, run_dir = top.get("seed", 0), top.get("run_dir")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        problems.append(f"seed: {seed!r} is not a whole number from 0 to 2**32 - 1")
    for key in ("launch", "track", "vars"):
        if not isinstance(top.get(key) or {}, dict):
            also = ", the name of a tracker, or a list of such" if key == "track" else ""
            problems.append(f"{key}: must be a mapping{also}, not {top[key]!r}")
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
    found = (run_name_problem(_given(top, "name", path.stem)), run_dir_problem(run_dir))
    return problems + [problem for problem in found if problem]


def _given(top: dict[str, Any], key: str, default: Any) -> Any:
    """The value of a top-level key, or `default` if it is left out or null."""
    return default if top.get(key) is None else top[key]


def _step(
    name: str, section: Any, stages: Stages, spelling: Spelling, problems: list[str]
) -> StepSpec | None:
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
    config, found = typed_config(name, stage.config, given, spelling)
    problems += found
    return None if found else StepSpec(name, stage, config, given)


def _stage(step: str, key: Any, stages: Stages) -> Stage:
    """The stage named by the step's key `stage`, else by the step itself; ValueError if unknown."""
    name = step if key is None else key
    is_module = "." in str(name)  # only the key `stage` may name a module
    is_relative = str(name).startswith(".") or str(name).endswith(".")
    if isinstance(name, str) and not (is_module and (key is None or is_relative)):
        try:
            stage = stages[name]
            if stage.trains and not issubclass(stage.config, TrainConfig):
                raise ValueError(f"stage '{name}' has a trainer: its config must be a TrainConfig")
            return stage
        except KeyError:
            pass
    what = f"'{step}' is not a stage" if key is None else f"unknown stage {name!r}"
    known = list(stages)
    hint = did_you_mean(str(name), (*known, *RESERVED))
    if (method := str(name).lower()) in known:
        hint = f" Did you mean: '{method}'?"
    elif method in METHODS:
        what = f"hfllm has no stage for {name} (a stage of your own: docs/your-own-stage.md)"
        hint = ""
    raise ValueError(
        f"{what}.{hint} Stages: {', '.join(known)}; a step of another name needs `stage:`"
    )
