"""The status of a step (done, missing, interrupted, failed or stale) and the reason for it.

A step is done if its manifest has the status "done" and the fingerprint that the recipe gives now.
If the fingerprint differs, the reason names what changed: keys (old -> new), a parent or a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hfllm.recipe.recipe import Recipe
from hfllm.runs.fingerprint import accepted_fingerprints, step_config
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.outputs import changed
from hfllm.runs.source_code import changed_code, code_digests


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
    if manifest.fingerprint not in accepted_fingerprints(step.recipe, step.name):
        return Status("stale", difference(step, manifest))
    if other := remade_parent(step, manifest):
        return Status("stale", other)
    if manifest.status == "failed":
        return Status("failed", f"failed before: {manifest.error}")
    if manifest.status != "done":
        return Status("interrupted", "interrupted; resumes from its last checkpoint, if any")
    if what := changed(step.folder, manifest):
        return Status("stale", f"{step.folder}: its {what}")
    return Status("done", f"done in {manifest.wall_s:.0f} s, fingerprint {manifest.fingerprint}")


def recorded_artifact(step: Step) -> dict[str, str]:
    """The artifact fingerprints in a step's manifest: {kind: fingerprint}."""
    manifest = Manifest.read(step.manifest)
    return manifest.artifact if manifest else {}


def remade_parent(step: Step, manifest: Manifest) -> str | None:
    """One line if a parent was rerun since and its artifact differs, though no key changed."""
    for parent, before in manifest.parent_artifacts.items():
        now = recorded_artifact(step.other(parent)) if parent in step.recipe.steps else {}
        kinds = [kind for kind, found in before.items() if now.get(kind, found) != found]
        if kinds:
            what = " and ".join(kinds).replace("_", " ")
            return f"'{parent}' was made again and its {what} came out different"
    return None


def difference(step: Step, manifest: Manifest) -> str:
    """One line on why the step's fingerprint is not the manifest's."""
    new = step_config(step.recipe, step.name)
    changes = _changes("", manifest.config, _as_json(new))
    if changes:
        shown = "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")
        return f"config changed: {shown}"
    if code := changed_code(manifest.code, code_digests(step.spec)):
        return code
    for parent, fingerprint in manifest.parents.items():
        if parent not in step.recipe.steps:
            return f"parent '{parent}' is no longer in the recipe"
        if fingerprint not in accepted_fingerprints(step.recipe, parent):
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


def recipe_statuses(recipe: Recipe) -> dict[str, Status]:
    """The status of every step, in running order."""
    return {name: status(Step(recipe, spec)) for name, spec in recipe.steps.items()}
