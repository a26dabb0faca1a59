"""Fingerprints: of a step's configuration with its parents, of outside files, of artifacts.

A step's fingerprint is a hash over its stage, its resolved configuration, the seed, the outside
files and model folders that it reads and its parents' fingerprints (a Merkle tree), so it is known
before anything has run and changes when anything upstream does. Keys that cannot change the
artifact (how often to log or save) are left out.

Outside files count by name, size and their first and last 64 KiB: hashing hundreds of gigabytes
before each start would cost more than it protects.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from hfllm.recipe.graph import file_references, model_references, sources_in
from hfllm.recipe.recipe import Recipe
from hfllm.recipe.stage import TOKENIZER

# trainer keys that change what is told or kept on the way, not the artifact
WITHOUT_EFFECT = (
    "logging_steps", "logging_strategy", "report_to", "run_name", "project", "disable_tqdm",
    "save_steps", "save_strategy", "save_total_limit", "log_level", "dataloader_num_workers",
    "dataloader_prefetch_factor", "dataloader_pin_memory", "output_dir", "log_completions",
)  # fmt: skip
SAMPLE_BYTES = 64 * 1024


def digest(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form, first 16 hex digits."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def step_config(recipe: Recipe, name: str) -> dict[str, Any]:
    """The configuration that decides the artifact of a step, as plain containers."""
    spec = recipe.steps[name]
    config = dataclasses.asdict(spec.config)
    for key in ("resume", "sample_prompts"):  # what is tried and told on the way
        config.pop(key, None)
    if "trainer" in config:
        trainer = spec.stage.default_values() | config["trainer"]
        config["trainer"] = {k: v for k, v in trainer.items() if k not in WITHOUT_EFFECT}
    if config.get("seed") is None:
        config["seed"] = recipe.seed
    return _without_none(config)


def _without_none(value: Any) -> Any:
    """Unset keys do not count: a key that a later version adds makes no finished step stale."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def config_fingerprint(recipe: Recipe, name: str) -> str:
    """Of the step's own configuration alone."""
    return digest([recipe.steps[name].stage.name, step_config(recipe, name)])


def step_fingerprint(recipe: Recipe, name: str) -> str:
    """Of the configuration, the outside files and the parents' fingerprints."""
    spec = recipe.steps[name]
    read = {key: source.path for key, source in sources_in(spec.config) if source.path}
    models = model_references(spec.config)
    read |= {key: m for key, m, _ in models if m not in recipe.steps and Path(m).exists()}
    read |= dict(file_references(spec.config))
    files = {key: _outside(path) for key, path in read.items()}
    parents = {parent: step_fingerprint(recipe, parent) for parent in spec.parents}
    return digest([config_fingerprint(recipe, name), files, parents])


def _outside(pattern: str) -> list[tuple[str, int, str]]:
    return [(path.name, size, _ends(path, size, mtime)) for path, size, mtime in _files(pattern)]


def _files(pattern: str) -> list[tuple[Path, int, int]]:
    pattern = os.path.expanduser(pattern)
    root = Path(pattern)
    names = [] if root.is_dir() else glob.glob(pattern, recursive=True)
    found = root.rglob("*") if root.is_dir() else map(Path, names)
    paths = sorted(p for p in found if p.is_file())
    return [(p, p.stat().st_size, p.stat().st_mtime_ns) for p in paths]


@lru_cache(maxsize=4096)
def _ends(path: Path, size: int, mtime_ns: int) -> str:
    """Hash of the first and last 64 KiB; the size and time are in the key of the cache."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
        file.seek(max(0, size - SAMPLE_BYTES))
        return hashlib.sha256(head + file.read(SAMPLE_BYTES)).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """sha256 of a whole file, first 16 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def artifact_fingerprints(folder: Path) -> dict[str, str]:
    """Of what a finished step left: weights, tokenizer, chat template, data, results."""
    model, data = folder / "model", folder / "data"
    tokenizer = folder / TOKENIZER if (folder / TOKENIZER).is_dir() else model
    found = {
        "model": sorted(model.glob("*.safetensors")),
        TOKENIZER: [tokenizer / "tokenizer.json"],
        "chat_template": [tokenizer / "chat_template.jinja"],
        "data": sorted(p for p in data.rglob("*") if p.is_file()) if data.is_dir() else [],
        "results": [folder / "results.json"],
    }
    out = {}
    for kind, paths in found.items():
        present = [p for p in paths if p.is_file()]
        if present:
            whole = [(str(p.relative_to(folder)), file_digest(p)) for p in present]
            out[kind] = whole[0][1] if len(whole) == 1 else digest(whole)
    return out
