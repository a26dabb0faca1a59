"""Record a step in its manifest: "running" before its work, "done" or "failed" after it.

Every step runs inside `recording`, so an interrupted or failed step can always be told from a
finished one, and wall time and peak memory are measured in the same way for all.
"""

from __future__ import annotations

import dataclasses
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from omegaconf import OmegaConf

from hfllm.recipe.stage import LANGUAGE_MODEL
from hfllm.runs.fingerprint import (
    accepted_fingerprints,
    config_fingerprint,
    step_config,
    step_fingerprint,
)
from hfllm.runs.layout import Step
from hfllm.runs.manifest import (
    Manifest,
    git_state,
    hardware,
    library_versions,
    write_atomically,
)
from hfllm.runs.outputs import record_outputs
from hfllm.runs.source_code import code_digests
from hfllm.runs.status import recorded_artifact


@contextmanager
def recording(step: Step, is_main: bool = True) -> Iterator[Manifest]:
    """Context for a step's work, which fills the manifest's metrics, tokens, ledger and notes.

    Only the main process writes. An exception leaves "failed" with its message. KeyboardInterrupt
    and SystemExit (SIGTERM) leave "running"; the next start resumes from the last checkpoint.
    """
    manifest = _running(step)
    if is_main:
        step.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(step.folder / "config.yaml", _config_yaml(step))
        manifest.write(step.manifest)
    before, start = manifest.wall_s, time.monotonic()
    try:
        yield manifest
    except Exception as error:
        manifest.status, manifest.error = "failed", f"{type(error).__name__}: {error}"
        _close(manifest, step, before + time.monotonic() - start, is_main)
        raise
    except BaseException:
        _close(manifest, step, before + time.monotonic() - start, is_main)
        raise
    manifest.status = "done"
    if is_main:
        record_outputs(step.folder, manifest)
    _close(manifest, step, before + time.monotonic() - start, is_main)
    if is_main:  # last: a kill while the artifact is hashed must not lose the checkpoints
        shutil.rmtree(step.checkpoints, ignore_errors=True)


def _running(step: Step) -> Manifest:
    recipe, spec = step.recipe, step.spec
    previous = Manifest.read(step.manifest)
    fingerprint = step_fingerprint(recipe, spec.name)
    before, started = 0.0, datetime.now(UTC).isoformat(timespec="seconds")
    same = previous and previous.fingerprint in accepted_fingerprints(recipe, spec.name)
    if previous and same and _resumes(step, previous):
        before, started = previous.wall_s, previous.started or started
    return Manifest(
        step=spec.name,
        stage=spec.stage.name,
        chat=spec.stage.chat if spec.stage.makes == LANGUAGE_MODEL else None,
        status="running",
        fingerprint=fingerprint,
        config_fingerprint=config_fingerprint(recipe, spec.name),
        config=step_config(recipe, spec.name),
        code=code_digests(spec),
        parents={name: step_fingerprint(recipe, name) for name in spec.parents},
        parent_artifacts={name: recorded_artifact(step.other(name)) for name in spec.parents},
        recipe=str(recipe.path),
        overrides=list(recipe.overrides),
        seed=recipe.seed,
        versions=library_versions(),
        git=git_state(),
        hardware=hardware(),
        started=started,
        wall_s=before,
    )


def _resumes(step: Step, previous: Manifest) -> bool:
    """Whether the previous attempt is resumed: it was stopped, or failed with checkpoints left."""
    kept = any(step.checkpoints.glob("checkpoint-*"))
    return previous.status == "running" or (previous.status == "failed" and kept)


def _config_yaml(step: Step) -> str:
    config = {"stage": step.stage.name, **dataclasses.asdict(step.spec.config)}
    return OmegaConf.to_yaml(OmegaConf.create(config))


def _close(manifest: Manifest, step: Step, wall_s: float, is_main: bool) -> None:
    manifest.wall_s = round(wall_s, 2)
    manifest.peak_memory_gb = round(peak_memory_gb(), 3)
    manifest.hardware = hardware()  # again: with the GPU's name, if torch is imported by now
    if is_main:
        manifest.write(step.manifest)


def peak_memory_gb() -> float:
    """Peak memory of this process so far, in GiB: on the GPU if it used one, else resident set."""
    torch = sys.modules.get("torch")
    on_gpu = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
    if on_gpu:  # a step may import torch and still work on the CPU alone
        return on_gpu / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
