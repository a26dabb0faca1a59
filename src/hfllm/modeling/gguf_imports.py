"""Where the import of a .gguf file lies in the cache, and whether it still is what was written.

An import is made once and read ever after; its manifest lists its files with their sizes, so that
one of which a file is gone (a cleaned cache, a full disk) is one line and no library's error.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hfllm.recipe.model_names import is_gguf

MANIFEST = "manifest.json"


def as_folder(reference: str) -> str:
    """The folder of a .gguf file's import, made on first use; any other reference as it is.

    Raises:
        ValueError: the file cannot be imported, or its import has lost a file.
    """
    path = Path(reference)
    if not is_gguf(path):
        return reference
    from hfllm.modeling.gguf import import_gguf
    from hfllm.modeling.gguf_header import read_header  # torch

    if not path.is_file():
        read_header(path)  # raises: no such file
    folder = imported_folder(path)
    if not (folder / MANIFEST).is_file():
        print(f"importing {path} once into {folder}", flush=True)
        import_gguf(path, folder)
    check_import(folder)
    return str(folder)


def imported_folder(path: Path) -> Path:
    """The cache folder for the import of a .gguf file, whether it exists or not.

    Below $HFLLM_CACHE, else ~/.cache/hfllm, under a hash of path, size and modification time:
    hashing the file's content on every use would be slow.
    """
    state = path.stat()
    key = f"2/{path.resolve()}/{state.st_size}/{state.st_mtime_ns}"  # 2: RoPE scaling is read
    root = Path(os.environ.get("HFLLM_CACHE") or Path.home() / ".cache" / "hfllm")
    return root / "imported" / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def write_import_manifest(folder: Path, known: dict[str, Any]) -> None:
    """Write `known` and the size of every file of a finished import."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    text = json.dumps({**known, "files": files}, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def check_import(folder: Path) -> None:
    """Raise ValueError if a file that an import wrote is gone or has another size."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = manifest.get("files", {})  # none in that of an early version
    for name, size in files.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise ValueError(
                f"{path} has {found:,} bytes, {size:,} were written when {manifest['file']} was "
                f"imported; remove the folder {folder} and run again, to import it anew"
            )
