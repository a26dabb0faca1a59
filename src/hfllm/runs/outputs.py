"""The files that a finished step wrote: recorded in its manifest, and found again if they change.

The manifest vouches for every file that a later step may read: its bytes, modification time and
sha256. `changed` compares the folder with it. Where size and time are the recorded ones, nothing is
read; where the time differs (somebody wrote to the file, or copied the run), the hash decides, so
a copy of a run is as good as the run (`cp -a` keeps the times, and saves the reading). A step that
is about to read another step's files passes whole=True, and every byte is compared: a disk or a
tool may change a file and keep its time.
"""

from __future__ import annotations

from pathlib import Path

from hfllm.recipe.stage import TOKENIZER
from hfllm.runs.fingerprint import digest, known_digest
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

PAGE = "index.html"  # `hfllm report` writes it again, so that only its presence is asked for


def record_outputs(folder: Path, manifest: Manifest) -> None:
    """Write down in the manifest what the step's folder holds now."""
    manifest.artifact = artifact_fingerprints(folder)
    paths = {str(path.relative_to(folder)): path for path in _outputs(folder)}
    manifest.files = {name: path.stat().st_size for name, path in paths.items()}
    if (folder / PAGE).is_file():
        manifest.files[PAGE] = (folder / PAGE).stat().st_size
    manifest.digests = {name: known_digest(path) for name, path in paths.items()}
    manifest.mtimes_ns = {name: path.stat().st_mtime_ns for name, path in paths.items()}


def artifact_fingerprints(folder: Path) -> dict[str, str]:
    """{kind: fingerprint} of the weights, tokenizer, chat template, data, results in a folder."""
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
            whole = [(str(p.relative_to(folder)), known_digest(p)) for p in present]
            out[kind] = whole[0][1] if len(whole) == 1 else digest(whole)
    return out


def _outputs(folder: Path) -> list[Path]:
    """Every file of a finished step that later steps or the report may read, sorted.

    Model cards are left out: the report writes them again. So are the samples of a training, which
    are a log; those of an evaluation are its answers.
    """
    found: list[Path] = []
    if (folder / "results.json").is_file():
        found = [folder / name for name in ("results.json", "samples.jsonl", "items.jsonl")]
    for kind in ("model", TOKENIZER, "adapter", "data"):
        found += (folder / kind).rglob("*")
    return sorted(p for p in found if p.is_file() and p.suffix != ".md")


def changed(folder: Path, manifest: Manifest, whole: bool = False) -> str | None:
    """What is gone, cut off or has other bytes of what the manifest lists; None if nothing is.

    Args:
        folder: of a finished step.
        manifest: the step's.
        whole: compare every byte, also of files whose size and time are the recorded ones.
    """
    places = {"model": ("model",), "data": ("data",), TOKENIZER: (TOKENIZER, "model")}
    for kind, names in places.items():
        if kind in manifest.artifact and not any((folder / name).is_dir() for name in names):
            return f"{kind} is gone"
    for name, size in manifest.files.items():
        if what := _changed_file(folder / name, size):
            return f"{name} {what}"
    for name, written in manifest.digests.items():
        same_time = (folder / name).stat().st_mtime_ns == manifest.mtimes_ns[name]
        if (whole or not same_time) and known_digest(folder / name) != written:
            return f"{name} has other bytes than were written"
    return None if manifest.digests else _changed_kind(folder, manifest, whole)


def _changed_file(path: Path, size: int) -> str | None:
    if not path.is_file():
        return "is gone"
    found = path.stat().st_size
    same = found == size or path.name == PAGE
    return None if same else f"has {found:,} bytes, {size:,} were written"


def _changed_kind(folder: Path, manifest: Manifest, whole: bool) -> str | None:
    """`changed` for a manifest of a version that recorded no hash of each file, or no file."""
    if "results" in manifest.artifact and not (folder / "results.json").is_file():
        return "results.json is gone"
    now = artifact_fingerprints(folder) if whole else {}
    kinds = [kind for kind, found in now.items() if manifest.artifact.get(kind, found) != found]
    return f"{kinds[0].replace('_', ' ')} has other bytes than were written" if kinds else None


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder holds a finished step with all of its artifacts, byte for byte."""
    return manifest.status == "done" and changed(folder, manifest, whole=True) is None


def check_parents(step: Step) -> None:
    """Compare every byte of what the step's parents wrote; ValueError names the first file."""
    for name in step.spec.parents:
        parent = step.other(name)
        manifest = Manifest.read(parent.manifest)
        if manifest and (what := changed(parent.folder, manifest, whole=True)):
            raise ValueError(
                f"{step.name}: its parent '{name}', {parent.folder}: {what}; put the file back, "
                f"or make the step again: `{step.command(only=name)}`"
            )
