"""The manifest: what a step was made from, with what, on what, and what came out.

It is written at the start ("running"), and again last and atomically ("done" or "failed").
A reader trusts "done" alone.
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
    """See the module; the fields are the JSON's keys."""

    step: str
    stage: str
    status: str  # running | done | failed
    fingerprint: str
    config_fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)  # step -> its fingerprint
    # step -> what its manifest listed when this step began: a parent that is made again and comes
    # out otherwise makes this step stale, though no key changed
    parent_artifacts: dict[str, dict[str, str]] = field(default_factory=dict)
    artifact: dict[str, str] = field(default_factory=dict)  # model, tokenizer, chat_template, data
    recipe: str = ""
    seed: int = 0
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    wall_s: float = 0.0  # summed over interrupted attempts
    tokens: int = 0
    flops: float = 0.0
    peak_memory_gb: float = 0.0
    ledger: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what was decided on the way and must be seen
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Atomically: temporary name, fsync, rename."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n")

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest, or None where there is none; raises ValueError where it is broken."""
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
    """A reader sees the old file or the whole new one, also after a crash."""
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
    """Rows as JSON lines, atomically."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape an artifact, and Python's."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def git_state() -> dict[str, Any]:
    """Commit and whether the tree differs from it; empty outside a checkout of hfllm."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(("git", "-C", here, *words), capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
    except OSError:  # no git on this machine
        return {}
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}


def hardware() -> dict[str, Any]:
    """CPU, cores, memory; the GPU only where torch is imported already."""
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
