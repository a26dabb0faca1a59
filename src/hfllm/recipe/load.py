"""A recipe file and its overrides -> typed stage configs, with every problem listed at once.

Order, cheapest first: YAML -> overrides -> interpolation -> stages and keys (OmegaConf structured
configs) -> references between steps and their order. No torch and no trl is imported here; the
`trainer:` sections are checked by `recipe.trainers`, files and sizes by `runs.preflight`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hfllm.recipe.graph import Graph, order_steps, parents_of
from hfllm.recipe.schema import RESERVED, STAGES


class RecipeError(ValueError):
    """All problems of a recipe, one per line, each with file, key and remedy."""

    def __init__(self, path: Path | str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


@dataclass
class StepSpec:
    """One step of a recipe: its stage, its typed config and the steps that it reads."""

    name: str
    stage: str
    config: Any  # a dataclass of recipe.schema
    given: dict[str, Any]  # the keys that the recipe or an override sets, as plain containers
    parents: list[str] = field(default_factory=list)


@dataclass
class Recipe:
    """A checked recipe; `steps` is in running order."""

    path: Path
    name: str
    run_dir: Path  # holds everything the recipe makes
    seed: int
    steps: dict[str, StepSpec]
    launch: dict[str, Any] = field(default_factory=dict)
    track: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    resolved: dict[str, Any] = field(default_factory=dict)

    def step_of_stage(self, stage: str) -> str | None:
        """The step named like the stage, else the first of that stage, else None."""
        if stage in self.steps and self.steps[stage].stage == stage:
            return stage
        return next((s.name for s in self.steps.values() if s.stage == stage), None)


def load_recipe(path: Path | str, overrides: list[str] | None = None) -> Recipe:
    """Read, override, check. Raises RecipeError with every problem found."""
    path, overrides = Path(path), list(overrides or [])
    top = _plain(path, overrides)
    problems: list[str] = []
    steps: dict[str, StepSpec] = {}
    for name, section in top.items():
        if name in RESERVED:
            continue
        spec = _step(name, section, problems)
        if spec:
            steps[name] = spec
    problems += _reserved(top, path)
    if not steps and not problems:
        problems.append(f"no steps; add one of {', '.join(STAGES)}")
    graph = Graph(
        steps=steps,
        broken={n for n in top if n not in RESERVED and n not in steps},
        default_tokenizer="tokenizer" if "tokenizer" in steps else None,
    )
    for spec in steps.values():
        spec.parents, trouble = parents_of(graph, spec)
        problems += trouble
    order, trouble = order_steps(steps)
    problems += trouble
    if problems:
        raise RecipeError(path, problems)
    name = str(top.get("name") or path.stem)
    return Recipe(
        path=path,
        name=name,
        run_dir=Path(top.get("run_dir") or "runs") / name,
        seed=int(top.get("seed") or 0),
        steps={n: steps[n] for n in order},
        launch=top.get("launch") or {},
        track=top.get("track") or {},
        overrides=overrides,
        resolved=top,
    )


def closest(word: str, names: Any) -> str:
    """' Did you mean: NAME?' where one is near, else ''."""
    near = difflib.get_close_matches(word, list(names), n=1)
    return f" Did you mean: '{near[0]}'?" if near else ""


def _plain(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The recipe as plain containers, overrides merged and interpolations resolved."""
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("configs")
        hint = closest(path.name, [p.name for p in folder.glob("*.yaml")])
        raise RecipeError(path, [f"no such recipe file.{hint}"])
    try:
        config = OmegaConf.load(path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise RecipeError(path, [f"{where}not valid YAML: {what}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(path, [f"cannot be read: {error}"]) from None
    if not OmegaConf.is_dict(config):
        raise RecipeError(path, ["a recipe is a mapping of steps; this file is not a mapping"])
    for item in overrides:
        if "=" not in item or item.startswith("-"):
            raise RecipeError(path, [f"override {item!r} is not of the form step.key=value"])
    try:
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(overrides))
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise RecipeError(path, [f"{key}: {_first_line(error)}"]) from None


def _reserved(top: dict[str, Any], path: Path) -> list[str]:
    problems = []
    if not isinstance(top.get("seed", 0), int):
        problems.append(f"seed: {top['seed']!r} is not a whole number")
    for key in ("launch", "track"):
        if not isinstance(top.get(key) or {}, dict):
            problems.append(f"{key}: must be a mapping")
    name = str(top.get("name") or path.stem)
    if "/" in name or name.startswith("."):
        problems.append(f"name: {name!r} must be a plain folder name (set run_dir for the place)")
    return problems


def _step(name: str, section: Any, problems: list[str]) -> StepSpec | None:
    section = {} if section is None else section
    if not isinstance(section, dict):
        problems.append(f"{name}: a step is a mapping, not {section!r}")
        return None
    given = dict(section)
    stage = given.pop("stage", name)
    if stage not in STAGES:
        what = f"'{name}' is not a stage" if "stage" not in section else f"unknown stage '{stage}'"
        known = ", ".join(STAGES)
        hint = closest(str(stage), (*STAGES, *RESERVED))
        problems.append(f"{name}: {what}.{hint} Stages: {known}; others need `stage:`")
        return None
    config = _typed(name, STAGES[stage], given, problems)
    return StepSpec(name, stage, config, given) if config is not None else None


def _typed(name: str, schema: type, given: dict[str, Any], problems: list[str]) -> Any:
    """Merge into the structured config; wrong keys are reported, removed and the rest checked on."""
    left = OmegaConf.to_container(OmegaConf.create(given))
    failed = False
    for _ in range(50):
        try:
            merged = OmegaConf.merge(OmegaConf.structured(schema), left)
            return None if failed else OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            failed = True
            key = str(getattr(error, "full_key", None) or "")
            where = _remove(left, key.replace("[", ".").replace("]", "").split(".")[-1]) or key
            problems.append(f"{name}.{where}: {_first_line(error)}")
            if not where or "Structured config" in str(error) or "MISSING" in str(error):
                return None
    return None


def _remove(tree: Any, key: str) -> str | None:
    """Delete the first `key` found in the tree and return its full path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in list(items):
        if str(name) == key:
            del tree[name]
            return str(name)
        if isinstance(value, dict | list):
            below = _remove(value, key)
            if below:
                here = name if isinstance(tree, dict) else f"[{name}]"
            return f"{here}.{below}".replace(".[", "[")
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].replace("Missing mandatory value", "must be set")
