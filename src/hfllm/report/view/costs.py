"""Cost of a run (per step and in total), and what is needed to reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hfllm.report.collect import DONE, NOT_RUN, Run, StepView
from hfllm.report.number_format import DASH, duration, exact, number, percent, scientific, short

# Metrics that log where the time of a training step went.
PARTS = (
    ("time/generate_s", "writing answers"),
    ("time/score_s", "scoring them"),
    ("time/update_s", "updating the model"),
)


@dataclass(frozen=True)
class Total:
    """Sums over the steps of a run."""

    wall_s: float
    trained: float  # tokens of the training steps
    flops: float
    hardware: list[str]  # each machine once

    def in_words(self) -> list[str]:
        """The sums that were recorded, with their units; the time stands under the title."""
        words = []
        if self.trained:
            words.append(f"{exact(self.trained)} tokens trained on")
        if self.flops:
            words.append(f"{scientific(self.flops)} FLOPs")
        return words


def total_of(run: Run) -> Total:
    """Sum the manifests; tokens of training steps only, because data steps read the same text."""
    machines = dict.fromkeys(hardware_of(s) for s in run.steps if s.section("hardware"))
    trained = [s for s in run.steps if s.stage.trains]
    return Total(
        wall_s=sum(s.figure("wall_s") or 0.0 for s in run.steps),
        trained=sum(s.figure("tokens") or 0.0 for s in trained),
        flops=sum(s.figure("flops") or 0.0 for s in run.steps),
        hardware=[m for m in machines if m],
    )


def hardware_of(step: StepView) -> str:
    """The machine in words: GPU if there is one, else CPU; cores; memory."""
    found = step.section("hardware")
    parts = [str(found.get("gpu") or found.get("cpu") or "")]
    if number(found.get("cores")):
        parts.append(f"{exact(found['cores'])} cores")
    if number(found.get("memory_gb")):
        parts.append(f"{short(found['memory_gb'])} GB of memory")
    return ", ".join(part for part in parts if part)


def cost_rows(run: Run) -> list[dict[str, str]]:
    """One table row per step; a dash for values that are zero or not recorded."""
    return [_cost(step) for step in run.steps]


def _cost(step: StepView) -> dict[str, str]:
    wall, tokens = step.figure("wall_s"), step.figure("tokens")
    flops, memory = step.figure("flops"), step.figure("peak_memory_gb")
    trains = step.stage.trains
    return {
        "step": step.name,
        "status": step.state,
        "wall": duration(wall) if wall else DASH,
        "tokens": exact(tokens) if tokens else DASH,
        "flops": scientific(flops) if flops else DASH,
        "speed": exact(round(tokens / wall)) if tokens and wall and trains else DASH,
        "memory": f"{memory:.2f}" if memory else DASH,
    }


def expectation_rows(run: Run) -> list[dict[str, str]]:
    """What each training step was expected to take beside what it took; [] of an older run."""
    return [row for step in run.steps for row in expectations(step)]


def expectations(step: StepView) -> list[dict[str, str]]:
    """One row a figure: predicted before the step began, measured, and how far off; [] of none.

    Measured figures of a step that is not done are left out: it has not taken all of them yet.
    """
    predicted, done = step.section("prediction"), step.status == DONE
    at_most = "at most " if predicted.get("tokens_at_most") is True else ""
    kinds: list[tuple[str, str, str, Callable[[float], str], str]] = [
        ("peak memory", "memory_gb", "peak_memory_gb", lambda x: f"{x:.2f} GiB", ""),
        ("wall time", "seconds", "wall_s", duration, ""),
        ("tokens", "tokens", "tokens", exact, at_most),
        ("FLOPs", "flops", "flops", scientific, at_most),
    ]
    rows = []
    for what, key, measured_key, in_words, before in kinds:
        expected = number(predicted.get(key))
        if expected is None:
            continue
        found = step.figure(measured_key) if done else None
        off = percent(expected / found - 1, 0) if found and not before else DASH
        rows.append(
            {
                "step": step.name,
                "what": what,
                "predicted": before + in_words(expected),
                "measured": in_words(found) if found else DASH,
                "off": off if off.startswith(("-", DASH)) else f"+{off}",
            }
        )
    return rows


def time_spent(run: Run) -> list[str]:
    """Seconds and shares of the parts of a step (PARTS), for steps that log them."""
    out = []
    for step in run.steps:
        seconds = {words: sum(number(r.get(k)) or 0 for r in step.metrics) for k, words in PARTS}
        total = sum(seconds.values())
        shares = [
            f"{words} {duration(spent)} ({percent(spent / total, 0)})"
            for words, spent in seconds.items()
            if spent
        ]
        if shares:
            out.append(f"{step.name}: {', '.join(shares)}")
    return out


@dataclass(frozen=True)
class Reproduction:
    """Everything that is needed to reproduce the run."""

    commands: list[str]
    recipe: str
    configs: list[tuple[str, str]]
    versions: list[dict[str, Any]]
    git: list[str]
    seeds: list[str]
    fingerprints: list[dict[str, str]] = field(default_factory=list)


def reproduction(run: Run) -> Reproduction:
    """Commands, recipe, versions, commits, seeds and fingerprints from the manifests."""
    ran = [s for s in run.steps if s.status != NOT_RUN and s.manifest]
    seeds = dict.fromkeys(str(s.manifest["seed"]) for s in ran if "seed" in s.manifest)
    return Reproduction(
        commands=list(dict.fromkeys(_command(s) for s in ran)) or ["hfllm run RECIPE"],
        recipe=run.recipe,
        configs=[(s.name, s.config) for s in run.steps if s.config],
        versions=_versions(ran),
        git=list(dict.fromkeys(commit_of(s) for s in ran if s.section("git"))),
        seeds=list(seeds),
        fingerprints=[row for s in ran for row in _prints(s)],
    )


def _command(step: StepView) -> str:
    """The command that ran the step, with its overrides."""
    overrides = step.manifest.get("overrides")
    given = [shlex.quote(str(item)) for item in overrides] if isinstance(overrides, list) else []
    return " ".join(["hfllm run", str(step.manifest.get("recipe") or "RECIPE"), *given])


def _versions(steps: list[StepView]) -> list[dict[str, Any]]:
    """Library versions; where the steps differ, each version with its steps."""
    found: dict[str, dict[str, list[str]]] = {}
    for step in steps:
        for library, version in step.section("versions").items():
            found.setdefault(str(library), {}).setdefault(str(version), []).append(step.name)
    rows = []
    for library, versions in sorted(found.items()):
        alone = len(versions) == 1
        words = [v if alone else f"{v} ({', '.join(steps)})" for v, steps in versions.items()]
        rows.append({"library": library, "version": "; ".join(words)})
    return rows


def commit_of(step: StepView) -> str:
    """The commit of hfllm that ran a step, and whether its tree differed from it."""
    git = step.section("git")
    commit = str(git.get("commit") or git.get("sha") or "unknown")
    return f"{commit}, with uncommitted changes" if git.get("dirty") else commit


def _prints(step: StepView) -> list[dict[str, str]]:
    own = {
        "step": step.manifest.get("fingerprint"),
        "config": step.manifest.get("config_fingerprint"),
    }
    kinds = {**own, **step.section("artifact")}
    return [
        {"step": step.name, "of": str(kind).replace("_", " "), "value": str(value)}
        for kind, value in kinds.items()
        if value
    ]
