"""The status of a step (done, missing, interrupted, failed or stale) and the reason for it.

A step is done if its manifest has the status "done" and the fingerprint that the recipe gives now.
If the fingerprint differs, the reason names what changed: keys (old -> new), a parent or a file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.recipe import Recipe
from hfllm.recipe.stage import TOKENIZER
from hfllm.runs.fingerprint import step_config, step_fingerprint
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest


@dataclass(frozen=True)
class Status:
    """The state of a step: done, missing, interrupted, failed or stale; `reason` is one line."""

    state: str
    reason: str

    @property
    def is_done(self) -> bool:
        """Whether the step can be skipped."""
        return self.state == "done"


def status(step: Step) -> Status:
    """Compare the step's manifest with the recipe, its parents' manifests and its folder."""
    manifest = Manifest.read(step.manifest)
    if manifest is None:
        return Status("missing", "not run yet")
    if manifest.fingerprint != step_fingerprint(step.recipe, step.name):
        return Status("stale", difference(step, manifest))
    if other := _remade_parent(step, manifest):
        return Status("stale", other)
    if manifest.status == "failed":
        return Status("failed", f"failed before: {manifest.error}")
    if manifest.status != "done":
        return Status("interrupted", "interrupted; resumes from its last checkpoint, if any")
    deleted = _deleted_artifact(step, manifest)
    if deleted:
        return Status("stale", f"its {deleted} is gone from {step.folder}")
    return Status("done", f"done in {manifest.wall_s:.0f} s, fingerprint {manifest.fingerprint}")


def recorded_artifact(step: Step) -> dict[str, str]:
    """The artifact fingerprints in a step's manifest: {kind: fingerprint}."""
    manifest = Manifest.read(step.manifest)
    return manifest.artifact if manifest else {}


def _remade_parent(step: Step, manifest: Manifest) -> str | None:
    """One line if a parent was rerun since and its artifact differs, though no key changed."""
    for parent, before in manifest.parent_artifacts.items():
        now = recorded_artifact(step.other(parent)) if parent in step.recipe.steps else {}
        kinds = [kind for kind, found in before.items() if now.get(kind, found) != found]
        if kinds:
            what = " and ".join(kinds).replace("_", " ")
            return f"'{parent}' was made again and its {what} came out different"
    return None


def _deleted_artifact(step: Step, manifest: Manifest) -> str | None:
    """The kind of an artifact that the manifest lists and the folder lacks, or None."""
    places = {"model": step.model, "data": step.data, TOKENIZER: step.tokenizer}
    for kind in manifest.artifact:
        if kind in places and not places[kind].is_dir():
            return kind
    if "results" in manifest.artifact and not (step.folder / "results.json").is_file():
        return "results.json"
    return None


def difference(step: Step, manifest: Manifest) -> str:
    """One line on why the step's fingerprint is not the manifest's."""
    new = step_config(step.recipe, step.name)
    changes = _changes("", manifest.config, _as_json(new))
    if changes:
        shown = "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")
        return f"config changed: {shown}"
    for parent, fingerprint in manifest.parents.items():
        if parent not in step.recipe.steps:
            return f"parent '{parent}' is no longer in the recipe"
        if step_fingerprint(step.recipe, parent) != fingerprint:
            return f"parent '{parent}' changed"
    return "a file that it reads changed"


def _as_json(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value, default=str))


def _changes(key: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        out = []
        for name in dict.fromkeys((*old, *new)):
            below = f"{key}.{name}" if key else str(name)
            out += _changes(below, old.get(name), new.get(name))
        return out
    return [] if old == new else [f"{key} {old!r} -> {new!r}"]


def set_aside(step: Step, keep: int = 1) -> Path | None:
    """Rename a stale step's folder to STEP.stale-FINGERPRINT; keep the `keep` newest of these.

    So a changed override does not overwrite a model that took hours to train.
    """
    if not step.folder.is_dir():
        return None
    manifest = Manifest.read(step.manifest)
    mark = manifest.fingerprint if manifest else "unknown"
    target = step.folder.with_name(f"{step.name}.stale-{mark}")
    if target.exists():
        shutil.rmtree(target)
    step.folder.rename(target)
    old = sorted(
        step.folder.parent.glob(f"{step.name}.stale-*"), key=lambda p: p.stat().st_mtime_ns
    )
    for path in old[:-keep]:
        if path != target:
            shutil.rmtree(path)
    return target


def mismatch(step: Step, parent: str, kind: str, found: str) -> str | None:
    """One line if an artifact of a parent is not the one that its manifest lists, else None.

    Args:
        step: the step that reads the artifact.
        parent: the name of the step that made it.
        kind: a key of the manifest's `artifact` (model, tokenizer, chat_template, data).
        found: the fingerprint of the artifact as it is now.
    """
    listed = recorded_artifact(step.other(parent)).get(kind)
    if listed is None or listed == found:
        return None
    return (
        f"{step.name}: the {kind} of '{parent}' is {found}, but its manifest says {listed}; "
        f"restore it, or run `{step.command(**{'from': parent})}`"
    )


def recipe_statuses(recipe: Recipe) -> dict[str, Status]:
    """The status of every step, in running order."""
    return {name: status(Step(recipe, spec)) for name, spec in recipe.steps.items()}
