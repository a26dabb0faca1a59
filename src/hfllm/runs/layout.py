"""Paths inside a run folder, runs/NAME/STEP/, as properties of a Step.

manifest.json   written last and atomically; the step is finished only if its status is "done"
metrics.jsonl   one object per log line of the trainer
config.yaml     the step's resolved config
data/           rows of a data step, or the packed rows of a training step
tokenizer/  model/ (with critic/ inside it after PPO)  adapter/  checkpoints/
results.json  samples.jsonl
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import DATA, RESULTS, TOKENIZER, Stage


@dataclass(frozen=True)
class Step:
    """One step of one recipe, with its paths; the argument of a stage's `run` or `build`."""

    recipe: Recipe
    spec: StepSpec

    @property
    def name(self) -> str:
        """The step's name in the recipe."""
        return self.spec.name

    @property
    def stage(self) -> Stage:
        """The stage that the step runs."""
        return self.spec.stage

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.recipe.seed

    @cached_property
    def folder(self) -> Path:
        """runs/NAME/STEP."""
        return self.recipe.run_dir / self.spec.name

    @property
    def data(self) -> Path:
        """The folder of rows that the step writes."""
        return self.folder / "data"

    @property
    def model(self) -> Path:
        """The model folder that the step writes."""
        return self.folder / "model"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer folder that the step writes; for a model step, its model folder."""
        return self.folder / TOKENIZER if self.stage.makes == TOKENIZER else self.model

    @property
    def product(self) -> Path:
        """What the step makes: the folder of a model, tokenizer, data or page, or results.json."""
        if self.stage.makes_model:
            return self.model
        places = {DATA: self.data, TOKENIZER: self.tokenizer, RESULTS: self.folder / "results.json"}
        return places.get(self.stage.makes, self.folder)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints during training; removed when the step is done."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The trainer's log, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def manifest(self) -> Path:
        """The manifest's file; see runs.manifest."""
        return self.folder / "manifest.json"

    def other(self, name: str) -> Step:
        """Another step of the same recipe."""
        return step_named(self.recipe, name)

    def data_of(self, name: str) -> Path:
        """The data folder of another step; the readers take this method as `resolve`."""
        return self.other(name).data

    def model_of(self, reference: str) -> str:
        """A model reference as a path or hub id for `from_pretrained`."""
        if reference in self.recipe.steps:
            return str(self.other(reference).model)
        return reference

    def command(self, verb: str = "run", **options: Any) -> str:
        """An `hfllm` command for error messages, with this recipe and its overrides."""
        flags = "".join(f" --{key} {value}" for key, value in options.items())
        return f"hfllm {verb} {self.recipe.path}{flags}{overrides_of(self.recipe)}"


def overrides_of(recipe: Recipe) -> str:
    """The recipe's overrides, quoted for a shell, each after a space."""
    return "".join(f" {shlex.quote(item)}" for item in recipe.overrides)


def step_named(recipe: Recipe, name: str) -> Step:
    """The step of that name; ValueError with the closest name if the recipe has none."""
    if name not in recipe.steps:
        raise ValueError(recipe.no_such_step(name))
    return Step(recipe, recipe.steps[name])
