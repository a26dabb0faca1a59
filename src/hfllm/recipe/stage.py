"""A stage, as the recipe language sees it: its keys, its trainer, what it makes, what it reports.

A stage is one module: `hfllm.stages.NAME`, an entry point of the group `hfllm.stages`, or what a
recipe names by its path (`stage: my_package.distill`). The module holds

    STAGE = Stage(config=Config, trainer="trl:DPOConfig", makes=LANGUAGE_MODEL, ...)

and one function: `build(config, step, manifest) -> (trainer, TrainingInfo)` where it trains, else
`run(config, step, manifest)`. Heavy imports stand inside that function: reading a recipe imports
every stage module, and must not import torch. `Stages` finds the modules by name; nothing else here
knows one.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# What a step leaves for others to read.
DATA, TOKENIZER, RESULTS, PAGE = "data", "tokenizer", "results", "page"
LANGUAGE_MODEL, REWARD_MODEL = "language_model", "reward_model"
MODELS = (LANGUAGE_MODEL, REWARD_MODEL)

Default = tuple[Any, str]  # a value and the reason why it differs from the library's
Figure = tuple[str, str]  # a value and its unit, as words


@dataclass(frozen=True)
class ModelRef:
    """The role of a key that names a model or tokenizer: a step, a folder, a .gguf file, a hub id.

    makes: what the named step must make. required: an empty one is an error. default_step: taken
    where the step has no `init` either, if the recipe has a step of that name.
    """

    makes: tuple[str, ...]
    required: bool = False
    default_step: str | None = None


def model_ref(
    default: str | None = None,
    makes: str | tuple[str, ...] = LANGUAGE_MODEL,
    required: bool = False,
    default_step: str | None = None,
) -> Any:
    """A config's field that names a model; the arguments are those of `ModelRef`."""
    kinds = (makes,) if isinstance(makes, str) else makes
    role = ModelRef(kinds, required, default_step)
    return field(default=default, metadata={"model_ref": role})


def model_refs(default: Any, makes: str | tuple[str, ...] = LANGUAGE_MODEL) -> Any:
    """A config's field that names several models in a list; `default` may be MISSING."""
    kinds = (makes,) if isinstance(makes, str) else makes
    return field(default=default, metadata={"model_ref": ModelRef(kinds)})


def file_ref(default: str | None = None, words: tuple[str, ...] = ()) -> Any:
    """A config's field that names a file, or says one of `words`."""
    return field(default=default, metadata={"file_ref": words})


@dataclass(frozen=True)
class Chart:
    """Metrics that are drawn together, declared once, where they are made.

    metrics: {key in metrics.jsonl: short label}; a key that ends in "*" stands for all with that
    beginning. unit: of the values. meaning: a sentence for somebody who does not know the metric.
    better: "up", "down", or "" where neither is. log: a logarithmic axis. over: the metric on the
    horizontal axis instead of the step, in `x_unit`.
    """

    title: str
    metrics: dict[str, str]
    unit: str
    meaning: str = ""
    better: str = ""
    log: bool = False
    over: str = ""
    x_unit: str = "step"

    def match(self, keys: list[str]) -> list[str]:
        """Those of `keys` that belong in this chart, in the chart's order."""
        chosen: list[str] = []
        for pattern in self.metrics:
            chosen += [k for k in keys if matches(pattern, k) and k not in chosen]
        return chosen

    def label(self, key: str) -> str:
        """The short label of a key: the chart's, else the end of the key itself."""
        if key in self.metrics:
            return self.metrics[key]
        return key.removesuffix("/mean").split("/")[-1].replace("_", " ")[:14]


def matches(pattern: str, key: str) -> bool:
    """Whether a metric is the one named, or begins as a pattern that ends in "*" says."""
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def _nothing(_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Stage:
    """All that the recipe language, a run and the report know of a stage.

    config: the dataclass of its keys. trainer: "module:Class" behind its `trainer:` section; None
    where nothing is trained and accelerate does not launch it. makes: what the step leaves (DATA,
    TOKENIZER, LANGUAGE_MODEL, REWARD_MODEL, RESULTS or PAGE). method: what the model card says of
    it, with its source. defaults: {trainer key: (value, reason)}, ours over the library's.
    set_elsewhere: {trainer key: where it is set instead}. check: problems that the config alone
    shows, before a run: (StepSpec) -> lines "key: what is wrong; what to do".

    chat: a language model that is asked in turns, not one that continues text. mixes: it draws from
    its sources by weight. sets_decay_steps: it knows its length, and so how long a learning rate
    decays. fixed_shapes: all its steps have tensors of the same shapes, so freed memory fits again
    and is kept. reads_everything: it reads whatever the run has, done or not, after all others.

    console: metrics of a progress line, in order. charts, uncharted: every metric that it logs is
    in one of them. key_figure, tiles, sentence: what the report says, from its view of the step
    (hfllm.report.collect.StepView); empty where a number is missing.
    """

    config: type
    trainer: str | None = None
    makes: str = DATA
    method: str = ""
    defaults: Mapping[str, Default] = field(default_factory=dict)
    set_elsewhere: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Any], Any] = _nothing
    chat: bool = True
    mixes: bool = False
    sets_decay_steps: bool = False
    fixed_shapes: bool = False
    reads_everything: bool = False
    console: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    uncharted: tuple[str, ...] = ()
    key_figure: Callable[[Any], Figure | tuple[()]] = _nothing
    tiles: Callable[[Any], Any] | None = None  # -> figures; None: the key figure alone
    sentence: Callable[[Any], str] = lambda _: ""
    name: str = ""  # these two by `Stages`
    module: str = ""

    @property
    def trains(self) -> bool:
        """Whether it has a trainer, and so runs under accelerate launch."""
        return self.trainer is not None

    @property
    def makes_model(self) -> bool:
        """Whether it leaves a model folder."""
        return self.makes in MODELS

    @property
    def makes_data(self) -> bool:
        """Whether it leaves rows or a tokenizer: cheap enough to be made when they are missing."""
        return self.makes in (DATA, TOKENIZER)

    def default_values(self) -> dict[str, Any]:
        """Our defaults of the `trainer:` section, without the reasons."""
        return {key: value for key, (value, _) in self.defaults.items()}


class Stages(Mapping[str, Stage]):
    """The stages there are, by name; a name with a dot is the path of somebody's own module."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        """Take the names with the modules ("package.module") that define them."""
        self._modules = dict(modules)
        self._found: dict[str, Stage] = {}

    def __getitem__(self, name: str) -> Stage:
        """The stage of that name.

        Raises:
            KeyError: there is none. ValueError: its module cannot be read, or holds no STAGE.
        """
        if name not in self._found:
            if name not in self._modules and "." not in name:
                raise KeyError(name)
            self._found[name] = _load(name, self._modules.get(name, name))
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """Names, without those that recipes give by their path."""
        return iter(self._modules)

    def __len__(self) -> int:
        """Stages with a name."""
        return len(self._modules)


def _load(name: str, module_name: str) -> Stage:
    module_name = module_name.partition(":")[0]  # an entry point may say module:STAGE
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"stage {name!r}: no module {error.name!r}; is it on PYTHONPATH?"
        ) from error
    stage = getattr(module, "STAGE", None)
    if not isinstance(stage, Stage):
        raise ValueError(
            f"stage {name!r}: {module.__file__} has no STAGE, a Stage; see docs/your-own-stage.md"
        )
    needed = "build" if stage.trains else "run"
    if not callable(getattr(module, needed, None)):
        raise ValueError(f"stage {name!r}: {module.__file__} has no function `{needed}`")
    return dataclasses.replace(stage, name=name, module=module_name)
