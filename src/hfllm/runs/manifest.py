"""The manifest of a step: its inputs, config, library versions, hardware, cost and results.

It is written at the start (status "running") and once more at the very end ("done" or "failed"),
atomically both times. Only "done" means that the step's artifacts are complete.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "peft",
    "hfllm",
)
SCHEMA = 1


@dataclass
class Manifest:
    """The record of one step; its fields are the keys of manifest.json."""

    step: str
    stage: str
    status: str  # running | done | failed
    fingerprint: str
    config_fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)  # the user's own files it runs -> digest
    parents: dict[str, str] = field(default_factory=dict)  # step -> its fingerprint
    # step -> `artifact` of its manifest when this step began: a parent that is rerun with another
    # result makes this step stale, although no key changed
    parent_artifacts: dict[str, dict[str, str]] = field(default_factory=dict)
    artifact: dict[str, str] = field(default_factory=dict)  # model, tokenizer, chat_template, data
    files: dict[str, int] = field(default_factory=dict)  # path -> bytes, of what the step wrote
    digests: dict[str, str] = field(default_factory=dict)  # path -> start of its sha256
    mtimes_ns: dict[str, int] = field(default_factory=dict)  # path -> modification time
    chat: bool | None = None  # whether its language model is asked in turns; None: it makes none
    recipe: str = ""
    overrides: list[str] = field(default_factory=list)  # of the command that ran the step
    seed: int = 0
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    wall_s: float = 0.0  # seconds, summed over interrupted attempts
    tokens: int = 0
    flops: float = 0.0
    peak_memory_gb: float = 0.0  # GiB
    prediction: dict[str, Any] = field(default_factory=dict)  # of a training step, before it began
    ledger: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # decisions made at run time, for the report
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write the manifest as JSON, atomically."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n")

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest in a file, or None if there is no file; ValueError if it is broken."""
        if not path.is_file():
            return None
        try:
            known = {f.name for f in dataclasses.fields(cls)}
            raw = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{key: value for key, value in raw.items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: broken manifest ({error}); delete the folder {path.parent} and run again"
            ) from None


def write_atomically(path: Path, text: str) -> None:
    """Write under a temporary name, fsync, rename: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write rows as JSON lines, atomically."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that can change an artifact."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def git_state() -> dict[str, Any]:
    """The commit of hfllm and whether its tree differs from it; empty outside a git checkout.

    New files count in the package alone: elsewhere they are a user's data, recipes and runs.
    """
    here = Path(__file__).parent

    def git(*words: str | Path) -> str:
        done = subprocess.run(("git", "-C", here, *words), capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
    except OSError:  # no git on this machine
        return {}
    if not commit:
        return {}
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed or git("status", "--porcelain", here.parent))}


def hardware() -> dict[str, Any]:
    """CPU, cores, memory (GiB) and, if torch is already imported, the GPUs."""
    import sys

    import psutil

    out: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        out["gpu"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return out


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
