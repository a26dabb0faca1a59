"""The data classes of a checked recipe: Recipe, and StepSpec for each of its steps."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.stage import Default, Stage, Stages

KEY = re.compile(r"(\w+)(?:\[\d+\]|\.[\w/-]+)*: ")  # `data.mixture[0].path: `; group 1 is `data`


@dataclass
class StepSpec:
    """One step of a recipe: its stage, its typed config and the steps that it depends on."""

    name: str
    stage: Stage
    config: Any  # of class `stage.config`
    given: dict[str, Any]  # the keys that the recipe or an override sets, as dicts and lists
    parents: list[str] = field(default_factory=list)
    implied: dict[str, str] = field(default_factory=dict)  # {key that is null: the reason}
    # trainer keys that win over the recipe: a checkpoint of other processes is resumed
    forced: dict[str, Any] = field(default_factory=dict)
    # trainer keys computed for the step's model and machine, with the reasons (training.defaults)
    chosen: dict[str, Default] = field(default_factory=dict)
    launch_words: list[str] = field(default_factory=list)  # accelerate's options, of `launch:`

    def line(self, message: str) -> str:
        """`step.key: ...` of a message that begins with one of the keys, `step: ...` of another.

        It may have the step's name already.
        """
        message = message.removeprefix(f"{self.name}.").removeprefix(f"{self.name}: ")
        begins = KEY.match(message)
        is_key = begins and begins[1] in {item.name for item in dataclasses.fields(self.config)}
        return f"{self.name}{'.' if is_key else ': '}{message}"


@dataclass
class Recipe:
    """A checked recipe; `steps` is in running order."""

    path: Path
    name: str
    run_dir: Path  # everything that the steps write is below it
    seed: int
    steps: dict[str, StepSpec]
    stages: Stages
    launch: dict[str, Any] = field(default_factory=dict)
    track: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    resolved: dict[str, Any] = field(default_factory=dict)  # the YAML after overrides

    def no_such_step(self, name: str) -> str:
        """The error line for an unknown step: the closest name, and the steps of the recipe."""
        hint = did_you_mean(name, self.steps)
        return f"{self.path}: no step '{name}'.{hint} Steps: {', '.join(self.steps)}"

    def step_of_stage(self, stage: str) -> str | None:
        """The step that has the stage's name and runs it, else the first that runs it, or None."""
        if stage in self.steps and self.steps[stage].stage.name == stage:
            return stage
        return next((s.name for s in self.steps.values() if s.stage.name == stage), None)
