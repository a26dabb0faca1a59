"""Read a run folder into plain records (`Run`, `StepView`), the input of all views.

Steps come in the order of the recipe, then step folders that the recipe does not name. A partial
run has a report too, so nothing here raises on content: an unreadable file or line becomes a
problem, which the page lists. No model is loaded and no heavy library imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hfllm.data.ledger import UNITS, Ledger
from hfllm.recipe.load import RESERVED
from hfllm.recipe.stage import Stage, Stages
from hfllm.report.number_format import number

DONE, RUNNING, FAILED, NOT_RUN = "done", "running", "failed", "not run"
# Files by which a folder is known as a step that ran.
TRACES = ("manifest.json", "metrics.jsonl", "results.json", "samples.jsonl")


def records(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The mappings in the list `holder[key]`; empty if it is no list."""
    rows = holder.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


@dataclass(frozen=True)
class StepView:
    """What the folder of one step holds; `manifest` is empty if there is none."""

    name: str
    stage: Stage
    status: str
    manifest: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)  # results.json
    curation: dict[str, Any] = field(default_factory=dict)  # data/curation.json
    config: str = ""  # config.yaml

    def section(self, key: str) -> dict[str, Any]:
        """A mapping of the manifest ("metrics", "hardware", ...); empty if it is none."""
        value = self.manifest.get(key)
        return value if isinstance(value, dict) else {}

    def figure(self, key: str) -> float | None:
        """A number of the manifest ("wall_s", "tokens", ...); None if it is none."""
        return number(self.manifest.get(key))

    def metric(self, *keys: str) -> float | None:
        """The first of `keys` in the final metrics, else in the last logged values, else None."""
        final = self.section("metrics")
        for key in keys:
            if number(final.get(key)) is not None:
                return number(final[key])
        for key in keys:
            logged = [row[key] for row in self.metrics if number(row.get(key)) is not None]
            if logged:
                return number(logged[-1])
        return None

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The ledger entries of the manifest that have a source and a bucket."""
        return [r for r in records(self.manifest, "ledger") if "source" in r and "bucket" in r]

    @property
    def counts(self) -> Ledger:
        """The step's ledger; a unit that is missing or no number counts as 0."""
        clean = [
            {"source": str(row["source"]), "bucket": str(row["bucket"])}
            | {unit: int(number(row.get(unit)) or 0) for unit in UNITS}
            for row in self.ledger
        ]
        return Ledger.from_json(clean)

    @property
    def error(self) -> str:
        """The recorded reason why the step failed."""
        return str(self.manifest.get("error") or "no reason recorded")

    @property
    def notes(self) -> list[str]:
        """The notes of the manifest: decisions of the step that a reader must know."""
        notes = self.manifest.get("notes")
        return [str(note) for note in notes] if isinstance(notes, list) else []

    @property
    def state(self) -> str:
        """The status in words, with the error of a failed step."""
        if self.status == FAILED:
            return f"failed: {self.error}"
        if self.status == RUNNING:
            return "running, or killed: no end recorded"
        return self.status


@dataclass(frozen=True)
class Run:
    """A run folder: its steps, parents before children, and the files that could not be read."""

    name: str
    folder: Path
    steps: list[StepView]
    recipe: str
    problems: list[str]

    def in_order(self, models: Iterable[str]) -> list[str]:
        """Models in the order of the steps that made them, outside models first."""
        order = {step.name: i for i, step in enumerate(self.steps)}
        return sorted(dict.fromkeys(models), key=lambda model: order.get(model, -1))


def read_run(run_dir: Path, stages: Stages) -> Run:
    """Read the folder of a run of these stages; ValueError if `run_dir` is not a folder."""
    if not run_dir.is_dir():
        raise ValueError(f"{run_dir} is not a run folder; start a run with `hfllm run RECIPE`")
    problems: list[str] = []
    recipe = _text(run_dir / "config.yaml", problems)
    planned = _planned(recipe) or _parents_of_report(run_dir)
    planned = {n: s for n, s in planned.items() if not stage_named(s, stages).reads_everything}
    folders = [p for p in run_dir.iterdir() if p.is_dir() and _is_step(p.name)]
    found = {p.name for p in folders if any((p / trace).exists() for trace in TRACES)}
    extra = sorted(found - set(planned))
    steps = [
        _read_step(run_dir / n, planned.get(n, n), stages, problems) for n in [*planned, *extra]
    ]
    named = re.search(r"^name:\s*['\"]?([^'\"#\n]+?)['\"]?\s*$", recipe, re.MULTILINE)
    name = named.group(1) if named else run_dir.resolve().name
    return Run(name, run_dir, _in_order(steps), recipe, problems)


def _planned(recipe: str) -> dict[str, str]:
    """Step names of the recipe and their stages, in file order."""
    try:
        tree = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return {}
    steps = {n: v or {} for n, v in tree.items() if n not in RESERVED} if tree else {}
    return {name: str(keys.get("stage") or name) for name, keys in steps.items()}


def stage_named(name: str, stages: Stages) -> Stage:
    """The stage of that name; an empty one if it is not installed here."""
    try:
        return stages[name]
    except (KeyError, ValueError):
        return Stage(config=object, name=name)


def _is_step(name: str) -> bool:
    """Whether a folder is a step: not the report, not a stale copy that a rerun set aside."""
    return name != "report" and ".stale-" not in name and not name.startswith(".")


def _parents_of_report(run_dir: Path) -> dict[str, str]:
    """All steps, also those that never ran: the parents in the manifest of a `report` step."""
    known = _object(run_dir / "report" / "manifest.json", []).get("parents")
    return {str(name): str(name) for name in known} if isinstance(known, dict) else {}


def _read_step(folder: Path, stage: str, stages: Stages, problems: list[str]) -> StepView:
    """One step; a folder with other TRACES but no manifest is of a step that never finished."""
    manifest = _object(folder / "manifest.json", problems)
    traces = any((folder / t).exists() for t in TRACES)
    status = str(manifest.get("status") or (RUNNING if traces else NOT_RUN))
    return StepView(
        name=folder.name,
        stage=stage_named(str(manifest.get("stage") or stage), stages),
        status=status if status in (DONE, RUNNING, FAILED, NOT_RUN) else RUNNING,
        manifest=manifest,
        metrics=read_lines(folder / "metrics.jsonl", problems),
        samples=read_lines(folder / "samples.jsonl", problems),
        results=_object(folder / "results.json", problems),
        curation=_object(folder / "data" / "curation.json", problems),
        config=_text(folder / "config.yaml", problems),
    )


def parents(step: StepView) -> list[str]:
    """Names of the steps that this one was made from."""
    return [str(name) for name in step.section("parents")]


def _in_order(steps: list[StepView]) -> list[StepView]:
    """Stable topological order, parents before children; a cycle keeps its order."""
    known, out = {s.name for s in steps}, []
    placed: set[str] = set()
    waiting = list(steps)
    while waiting:
        ready = (s for s in waiting if not (set(parents(s)) & known) - placed - {s.name})
        step = next(ready, waiting[0])
        waiting.remove(step)
        placed.add(step.name)
        out.append(step)
    return out


def _text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        problems.append(f"{path.parent.name}/{path.name}: {error.strerror}")
        return ""


def _object(path: Path, problems: list[str]) -> dict[str, Any]:
    text = _text(path, problems)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        problems.append(f"{path.parent.name}/{path.name}: not JSON ({error})")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.parent.name}/{path.name}: not a JSON object")
        return {}
    return value


def read_lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; unreadable lines become one problem."""
    rows, bad = [], []
    for line_number, row in _parsed(_text(path, problems)):
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad.append(line_number)
    if bad:
        where = f"{path.parent.name}/{path.name}"
        problems.append(f"{where}: {len(bad)} unreadable line(s), the first is line {bad[0]}")
    return rows


def _parsed(text: str) -> Iterator[tuple[int, Any]]:
    for line_number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield line_number, json.loads(line)
            except ValueError:
                yield line_number, None
