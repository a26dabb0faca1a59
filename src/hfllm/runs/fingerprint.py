"""Fingerprints (hashes) of steps, to tell a finished step from a stale one.

A step's fingerprint is a hash of its stage, its resolved config (with the batch, clipping and
optimizer that the recipe's `launch:` asks for), the seed, the files and model
folders outside the run that it reads, the user's own code that it runs (source_code.py), and its
parents' fingerprints (a Merkle tree). It is known before anything runs, and it changes when
anything upstream changes. Keys that cannot change the
artifact (how often to log or save) are left out.

Outside files are hashed by name, size and content. Those of a key that holds more than 4 GiB are
hashed by their first and last 64 KiB and their modification time: reading hundreds of gigabytes
before each start would take too long. What the steps of the run write is hashed whole (outputs.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from hfllm.recipe.graph import file_references, model_references, sources_in
from hfllm.recipe.launch_line import training_asked
from hfllm.recipe.paths import matches, user_path, walk
from hfllm.recipe.recipe import Recipe
from hfllm.runs.source_code import module_digests

# trainer keys that change what is logged or saved during training, not the artifact
WITHOUT_EFFECT = (
    "logging_steps", "logging_strategy", "report_to", "run_name", "project", "disable_tqdm",
    "save_steps", "save_strategy", "save_total_limit", "log_level", "dataloader_num_workers",
    "dataloader_prefetch_factor", "dataloader_pin_memory", "output_dir", "log_completions",
)  # fmt: skip
SAMPLE_BYTES = 64 * 1024
WHOLE_BYTES = 4 * 2**30  # files of one key up to here, together, are read whole


def digest(value: Any) -> str:
    """The first 16 hex digits of the sha256 of a value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def step_config(recipe: Recipe, name: str) -> dict[str, Any]:
    """The config keys that determine a step's artifact, as dicts and lists."""
    spec = recipe.steps[name]
    config = dataclasses.asdict(spec.config)
    for key in ("resume", "sample_prompts"):  # no effect on the artifact
        config.pop(key, None)
    if "trainer" in config:
        trainer = spec.stage.default_values() | training_asked(spec.launch_words)
        trainer |= config["trainer"]
        config["trainer"] = {k: v for k, v in trainer.items() if k not in WITHOUT_EFFECT}
    if config.get("seed") is None:
        config["seed"] = recipe.seed
    return _without_none(config)


def _without_none(value: Any) -> Any:
    """Leave unset keys out, so that a key added by a later version makes no finished step stale."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def config_fingerprint(recipe: Recipe, name: str) -> str:
    """The fingerprint of a step's own stage and config, without files and parents."""
    return digest([recipe.steps[name].stage.name, step_config(recipe, name)])


def step_fingerprint(recipe: Recipe, name: str, whole: bool = True) -> str:
    """The fingerprint of a step: its config, the outside files it reads, its parents, own code.

    With whole=False of files only their ends count, as in the manifests of former versions.
    """
    spec = recipe.steps[name]
    read = {key: source.path for key, source in sources_in(spec.config) if source.path}
    models = model_references(spec.config)
    read |= {key: m for key, m, _ in models if m not in recipe.steps and Path(m).exists()}
    read |= dict(file_references(spec.config))
    files = {key: _outside_files(path, whole) for key, path in read.items()}
    parents = {parent: step_fingerprint(recipe, parent, whole) for parent in spec.parents}
    code = module_digests(spec)  # left out if empty: finished steps without any stay up to date
    return digest([config_fingerprint(recipe, name), files, parents, *([code] if code else [])])


def accepted_fingerprints(recipe: Recipe, name: str) -> Iterator[str]:
    """The fingerprints of a step that is up to date: that of now, and that of former versions.

    Those read the ends of a file alone; a step that they finished stays done.
    """
    yield step_fingerprint(recipe, name)
    yield step_fingerprint(recipe, name, whole=False)


def _outside_files(pattern: str, whole: bool = True) -> list[tuple[str | int, ...]]:
    """(name, bytes, digest) of every file of a path, glob or folder; a time too if it is sampled.

    A file of up to two samples is read whole by them.
    """
    found = _matching_files(pattern)
    large = sum(size for _, size, _ in found) > WHOLE_BYTES
    out: list[tuple[str | int, ...]] = []
    for path, size, mtime in found:
        changed = path.stat().st_ctime_ns
        if not whole or size <= 2 * SAMPLE_BYTES:
            out.append((path.name, size, _sampled_digest(path, size, mtime, changed)))
        elif large:
            out.append((path.name, size, _sampled_digest(path, size, mtime, changed), mtime))
        else:
            out.append((path.name, size, known_digest(path)))
    return out


def _matching_files(pattern: str) -> list[tuple[Path, int, int]]:
    """(path, bytes, modification time in ns), sorted."""
    root = Path(user_path(pattern))
    found = [root] if root.exists() else matches(str(root))
    files = (file for path in found for file in (walk(path) if path.is_dir() else [path]))
    paths = sorted({p for p in files if p.is_file()})
    return [(p, p.stat().st_size, p.stat().st_mtime_ns) for p in paths]


@lru_cache(maxsize=4096)
def _sampled_digest(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Hash of the first and last 64 KiB; size and times only serve as keys of the cache."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
        file.seek(max(0, size - SAMPLE_BYTES))
        return hashlib.sha256(head + file.read(SAMPLE_BYTES)).hexdigest()[:16]


def known_digest(path: Path) -> str:
    """`file_digest`, computed once in this process as long as size and times stay the same."""
    found = path.stat()
    return _whole_digest(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=4096)
def _whole_digest(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Hash of all bytes; size and times only serve as keys of the cache."""
    return file_digest(path)


def file_digest(path: Path) -> str:
    """The first 16 hex digits of the sha256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
