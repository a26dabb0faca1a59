"""Stage: what a stage module declares of itself (keys, trainer class, artifact, report texts).

A stage is one module: `hfllm.stages.NAME`, an entry point of the group `hfllm.stages`, or a module
that a recipe names by its path (`stage: my_package.distill`). The module defines

    STAGE = Stage(config=Config, trainer="trl:DPOConfig", makes=LANGUAGE_MODEL, ...)

and one function: `build(config, step, manifest) -> (trainer, TrainingInfo)` if it trains, otherwise
`run(config, step, manifest)`. Heavy imports belong inside that function: reading a recipe imports
the stage modules, and must not import torch. `Stages` maps names to modules; `recipe/` and `runs/`
use no stage by name, so that a new stage needs no change there.
"""

from __future__ import annotations

import dataclasses
import importlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hfllm.recipe.chart import Chart as Chart  # stages import it from here
from hfllm.recipe.chart import matches as matches
from hfllm.recipe.errors import first_line
from hfllm.recipe.ranges import Range
from hfllm.recipe.row_shape import Rate as Rate
from hfllm.recipe.row_shape import RowShape as RowShape

# The kinds of artifact that a step makes.
DATA, TOKENIZER, RESULTS, PAGE = "data", "tokenizer", "results", "page"
LANGUAGE_MODEL, REWARD_MODEL = "language_model", "reward_model"
MODELS = (LANGUAGE_MODEL, REWARD_MODEL)

Default = tuple[Any, str]  # a value and the reason why it differs from the library's
Figure = tuple[str, str]  # a value and its unit, as the report prints them


@dataclass(frozen=True)
class ModelRef:
    """The role of a key whose value is a step, a model folder, a .gguf file or a hub id.

    makes: the kinds of artifact that are accepted. required: it must be set. default_step: the step
    that is read if neither this key nor `init` is set. instead: a key that may stand in its place:
    where that is set and no step has the name of the default, the default is null.
    """

    makes: tuple[str, ...]
    required: bool = False
    default_step: str | None = None
    instead: str | None = None


def model_ref(
    default: str | None = None,
    makes: str | tuple[str, ...] = LANGUAGE_MODEL,
    required: bool = False,
    default_step: str | None = None,
    instead: str | None = None,
) -> Any:
    """A config field that names a model or tokenizer.

    Args:
        default: the step, folder or hub id that is read if the recipe sets nothing.
        makes: the kind or kinds of artifact that are accepted (LANGUAGE_MODEL, TOKENIZER, ...).
        required: an unset key is a problem of the recipe.
        default_step: the step that is read if neither this key nor `init` is set.
        instead: a key that, if set, makes the default null where no step has its name.
    """
    kinds = (makes,) if isinstance(makes, str) else makes
    role = ModelRef(kinds, required, default_step, instead)
    return field(default=default, metadata={"model_ref": role})


def model_refs(default: Any, makes: str | tuple[str, ...] = LANGUAGE_MODEL) -> Any:
    """A config field that names a list of models; `default` may be MISSING (it must be set)."""
    kinds = (makes,) if isinstance(makes, str) else makes
    return field(default=default, metadata={"model_ref": ModelRef(kinds)})


def file_ref(default: str | None = None, keywords: tuple[str, ...] = ()) -> Any:
    """A config field that holds a file's path or one of `keywords`."""
    return field(default=default, metadata={"file_ref": keywords})


def _empty(_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Stage:
    """Everything that recipes, runs and the report know about a stage.

    Keys. config: the dataclass of the step's keys. trainer: "module:Class" of its `trainer:`
    section; None if the stage does not train (accelerate does not launch it then); with one,
    `config` is a TrainConfig and `makes` a model. defaults: {trainer key: (value, reason)}, which
    replace the library's. set_elsewhere: {trainer key: where to set it instead}; such a key is
    refused, as are those of recipe.training.TRAINER_ELSEWHERE. ranges: {trainer key: the numbers
    that it may be}, beyond recipe.trainer_values.TRAINER_RANGES. check: (StepSpec) -> lines "key:
    what is wrong; what to do", from the config alone, before a run. first_rows: (Step) -> lines as
    of `check`, from the first rows of its sources, its reward functions and the model's
    configuration. row: (StepSpec) -> RowShape; without it the micro-batch is the default. rates:
    learning rates by size, smallest first, for models above recipe.training.SMALL_MODEL.

    Artifact. makes: DATA, TOKENIZER, LANGUAGE_MODEL, REWARD_MODEL, RESULTS or PAGE. method: the
    model card's sentence on the method, with its paper. chat: the language model answers in a chat
    template (False: it continues text).

    Behaviour. mixes: it samples its sources by `weight`. sets_decay_steps: it computes
    `num_decay_steps` of the schedule warmup_stable_decay itself. fixed_shapes: its tensors have the
    same shapes in every training step, so that `hfllm run` keeps freed memory for the next.
    reads_everything: it depends on all other steps, finished or not, and runs last.

    Report. console: metrics of a progress line, in order. charts, uncharted: every metric that it
    logs is in one of the two; the page draws the uncharted ones folded away, without a meaning.
    key_figure, sentence: the report's texts, from hfllm.report.collect.StepView; empty if a
    number is missing.
    """

    config: type
    trainer: str | None = None
    makes: str = DATA
    method: str = ""
    defaults: Mapping[str, Default] = field(default_factory=dict)
    set_elsewhere: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    check: Callable[[Any], Any] = _empty
    first_rows: Callable[[Any], Any] = _empty
    row: Callable[[Any], RowShape | None] = lambda _: None
    rates: tuple[Rate, ...] = ()
    chat: bool = True
    mixes: bool = False
    sets_decay_steps: bool = False
    fixed_shapes: bool = False
    reads_everything: bool = False
    console: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    uncharted: tuple[str, ...] = ()
    key_figure: Callable[[Any], Figure | tuple[()]] = _empty
    sentence: Callable[[Any], str] = lambda _: ""
    name: str = ""  # set by `Stages`, as is `module`
    module: str = ""

    @property
    def trains(self) -> bool:
        """Whether the stage has a trainer, and so runs under `accelerate launch`."""
        return self.trainer is not None

    @property
    def makes_model(self) -> bool:
        """Whether the stage makes a model folder."""
        return self.makes in MODELS

    @property
    def makes_data(self) -> bool:
        """Whether it makes rows or a tokenizer, which a child step makes itself if missing."""
        return self.makes in (DATA, TOKENIZER)

    def default_values(self) -> dict[str, Any]:
        """The stage's defaults of the `trainer:` section, without the reasons."""
        return {key: value for key, (value, _) in self.defaults.items()}


class Stages(Mapping[str, Stage]):
    """The available stages by name; a name with a dot is the import path of a stage module."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        """`modules`: {name: "package.module" that defines the stage}; nothing is imported yet."""
        self._modules = dict(modules)
        self._found: dict[str, Stage] = {}

    def __getitem__(self, name: str) -> Stage:
        """Import the module of that name and return its stage.

        Raises:
            KeyError: no stage has that name.
            ValueError: its module cannot be imported, or lacks STAGE, `build` or `run`.
        """
        if name not in self._found:
            if name not in self._modules and "." not in name:
                raise KeyError(name)
            self._found[name] = _load(name, self._modules.get(name, name))
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """The names; stages that recipes give by import path are not among them."""
        return iter(self._modules)

    def __len__(self) -> int:
        """The number of named stages."""
        return len(self._modules)


def _why_not_imported(module: str, error: BaseException) -> str:
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and (module == missing or module.startswith(f"{missing}.")):
        hint = "is it on PYTHONPATH?"
        if "/" in module:
            hint = f"write {module.removesuffix('.py').replace('/', '.')}"
        return f"no module {missing!r}; {hint}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.filename}:{last.lineno}"
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    return f"importing {module} failed at {place}: {type(error).__name__}: {first_line(error)}"


def _load(name: str, module_name: str) -> Stage:
    module_name = module_name.partition(":")[0]  # an entry point may be "module:STAGE"
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever somebody's module does when it is imported
        raise ValueError(f"stage {name!r}: {_why_not_imported(module_name, error)}") from error
    stage = getattr(module, "STAGE", None)
    if not isinstance(stage, Stage):
        raise ValueError(
            f"stage {name!r}: {module.__file__} has no STAGE, a Stage; see docs/your-own-stage.md"
        )
    if stage.trains and not stage.makes_model:
        raise ValueError(f"stage {name!r}: STAGE has a trainer; set `makes` to one of {MODELS}")
    needed = "build" if stage.trains else "run"
    if not callable(getattr(module, needed, None)):
        raise ValueError(f"stage {name!r}: {module.__file__} has no function `{needed}`")
    return dataclasses.replace(stage, name=name, module=module_name)
