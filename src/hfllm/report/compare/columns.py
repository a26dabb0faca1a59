"""What is compared: each argument of `hfllm compare` becomes a column, or several.

RUN           the run's last language model that was evaluated
RUN/STEP      the model of that step, or an outside model by its name in the results
RUN/EVALUATE  all language models of an evaluation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfllm.recipe.did_you_mean import did_you_mean, near_path
from hfllm.recipe.stage import LANGUAGE_MODEL, Stages
from hfllm.report.collect import NOT_RUN, TRACES, Run, StepView, read_run, records


@dataclass(frozen=True)
class Column:
    """One model of one run."""

    run: Run
    model: str  # its name in the results: a step's, or an outside model's
    label: str = ""  # the column's head

    @property
    def place(self) -> str:
        """The run's folder and the model: `runs/demo/sft`."""
        return f"{self.run.folder}/{self.model}"

    @property
    def step(self) -> StepView | None:
        """The step that made the model; None for an outside model."""
        return next((s for s in self.run.steps if s.name == self.model), None)


def find_columns(arguments: Sequence[str], stages: Stages) -> tuple[list[Column], list[str]]:
    """The columns with their labels, and notes on what was chosen.

    Raises:
        ValueError: no such run or step, a run without results, or only one column (one line).
    """
    runs: dict[Path, Run] = {}
    found: list[Column] = []
    notes: list[str] = []
    for argument in arguments:
        folder, name = _split(Path(argument))
        if folder not in runs:
            runs[folder] = read_run(folder, stages)
        chosen = _named(runs[folder], name) if name else _last(runs[folder], notes)
        found += [Column(runs[folder], model) for model in chosen]
    places = [(column.run.folder.resolve(), column.model) for column in found]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise ValueError(f"{found[at].place}: is named twice; compare it with another one")
    if len(found) < 2:
        what = found[0].place if found else "nothing"
        raise ValueError(
            f"compare: {what} alone cannot be compared; name two runs or steps, as in "
            "`hfllm compare runs/a runs/b` or `hfllm compare runs/a/sft runs/a/ppo`"
        )
    return _labelled(found), notes


def _split(path: Path) -> tuple[Path, str]:
    """The run's folder, and the name after it ("" if there is none)."""
    if path.name == "model" and _is_step(path.parent):
        path = path.parent
    if _is_run(path):
        return path, ""
    if _is_run(path.parent) and path.parent != path:
        return path.parent, path.name
    if path.is_dir():
        raise ValueError(f"{path}: no run folder: no step in it has a manifest.json")
    near = near_path(path)
    hint = f" Did you mean: '{near}'?" if near else ""
    raise ValueError(f"{path}: no such run.{hint}")


def _is_step(folder: Path) -> bool:
    return any((folder / trace).is_file() for trace in TRACES)


def _is_run(folder: Path) -> bool:
    """Whether it holds steps, and is none itself."""
    if not folder.is_dir() or _is_step(folder):
        return False
    return any(_is_step(below) for below in folder.iterdir() if below.is_dir())


def evaluated(run: Run, step: StepView | None = None) -> list[str]:
    """The language models in the results of a step, or of all, in the order of the steps."""
    other = {s.name for s in run.steps if s.stage.makes_model and s.stage.makes != LANGUAGE_MODEL}
    steps = [step] if step else run.steps
    models = [str(r["model"]) for s in steps for r in records(s.results, "results") if "model" in r]
    return run.in_order(model for model in models if model not in other)


def _last(run: Run, notes: list[str]) -> list[str]:
    """The last model of a run, and a note on the others."""
    models = evaluated(run)
    if not models:
        trained = next((s.name for s in reversed(run.steps) if s.stage.trains), "STEP")
        raise ValueError(
            f"{run.folder}: no evaluate step has left results; run one, or name a step to compare "
            f"training alone: {run.folder}/{trained}"
        )
    if models[:-1]:
        notes.append(
            f"{run.folder}: its last model, {models[-1]}; evaluated too: {', '.join(models[:-1])} "
            f"(name one as {run.folder}/{models[0]})"
        )
    return models[-1:]


def _named(run: Run, name: str) -> list[str]:
    """The models that a name stands for."""
    models = evaluated(run)
    results = [str(r.get("model")) for s in run.steps for r in records(s.results, "results")]
    step = next((s for s in run.steps if s.name == name), None)
    if step is None and name not in results:
        known = list(dict.fromkeys([*(s.name for s in run.steps), *models]))
        raise ValueError(
            f"{run.folder}: no step '{name}'.{did_you_mean(name, known)} Steps: {', '.join(known)}"
        )
    if step is not None and step.results:
        return evaluated(run, step)
    if step is not None and step.status == NOT_RUN:
        raise ValueError(f"{run.folder}/{name}: has not run yet; run it with `hfllm run`")
    if step is not None and not step.stage.makes_model:
        raise ValueError(
            f"{run.folder}/{name}: makes no model and has no results; name a step that does: "
            f"{', '.join(s.name for s in run.steps if s.stage.makes_model)}"
        )
    return [name]


def _labelled(columns: list[Column]) -> list[Column]:
    """The shortest heads that tell the columns apart: the step, the run, or both."""
    by_step = [column.model for column in columns]
    by_run = [column.run.folder.resolve().name for column in columns]
    both = [f"{run}/{step}" for run, step in zip(by_run, by_step, strict=True)]
    one_run = len({column.run.folder.resolve() for column in columns}) == 1
    candidates = [by_step] if one_run else [by_run] if len(set(by_step)) == 1 else [both]
    candidates += [both, [column.place for column in columns]]
    heads = next((c for c in candidates if len(set(c)) == len(c)), candidates[-1])
    return [Column(c.run, c.model, head) for c, head in zip(columns, heads, strict=True)]
