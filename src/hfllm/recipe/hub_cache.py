"""What the Hugging Face cache holds of a hub id: enough to load it without the hub, or not.

The libraries fetch file by file, so a snapshot may hold a config alone (`AutoConfig`, a download
that was stopped). A model loads from it if it has its config, all weights and a tokenizer, in the
snapshot that the branch `main` was at; a data set only if it was prepared, as `datasets` reads no
snapshot while it is offline.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from hfllm.recipe.stage import TOKENIZER as TOKENIZER

MODEL, DATA = "model", "data set"
ALL = "all of it"
CONFIGS = ("config.json", "adapter_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")  # of sharded weights
VOCABULARIES = ("tokenizer.json", "*.model", "vocab*", "*.tiktoken", "tokenization_*.py")


def missing(name: str, kind: str) -> str | None:
    """What the cache lacks of the hub id for the libraries to load it, or ALL; None if nothing.

    Args:
        name: owner/name, or the name alone of an old data set.
        kind: MODEL, TOKENIZER (of a tokenizer's or a model's id) or DATA.
    """
    if kind == DATA:
        return None if _is_prepared(name) else ALL
    folder = _snapshot(name)
    if folder is None or not any(folder.iterdir()):
        return ALL
    vocabulary = any(any(folder.glob(pattern)) for pattern in VOCABULARIES)
    lacks = [] if vocabulary else ["a tokenizer"]
    if kind == MODEL:
        lacks += [] if any((folder / config).exists() for config in CONFIGS) else ["config.json"]
        lacks += _missing_weights(folder)
    return " and ".join(lacks) or None


def _snapshot(name: str) -> Path | None:
    """The folder of the files of a model's branch `main`; no other one is loaded by its id."""
    repository = cache() / f"models--{name.replace('/', '--')}"
    main = repository / "refs" / "main"
    if not main.is_file():
        return None
    folder = repository / "snapshots" / main.read_text(encoding="utf-8").strip()
    return folder if folder.is_dir() else None


def cached_file(name: str, file: str) -> Path | None:
    """A file of a model's id in the cache, or None."""
    folder = _snapshot(name)
    return folder / file if folder and (folder / file).is_file() else None


def _missing_weights(folder: Path) -> list[str]:
    if any((folder / name).exists() for name in WEIGHTS):  # of a link: what it points to
        return []
    index = next((folder / name for name in INDEXES if (folder / name).exists()), None)
    if index is None:
        return ["weights"]
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, AttributeError, TypeError):
        return [f"a readable {index.name}"]
    gone = sorted({shard for shard in shards if not (folder / shard).exists()})
    return [f"{len(gone)} of its files of weights ({gone[0]} first)"] if gone else []


def _is_prepared(name: str) -> bool:
    """Whether `datasets` has prepared a data set: OWNER___NAME/CONFIG/VERSION/HASH."""
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or hub_home() / "datasets")
    wanted = _without_case(name.replace("/", "___"))
    folders = prepared.iterdir() if prepared.is_dir() else ()
    made = (folder for folder in folders if _without_case(folder.name) == wanted)
    return any(any(folder.glob("*/*/*/dataset_info.json")) for folder in made)


def _without_case(name: str) -> str:
    """`datasets` names the folder of SmolTalk smol_talk."""
    return name.lower().replace("_", "")


def hub_home() -> Path:
    """The folder of the Hugging Face libraries, as huggingface_hub resolves it; it need not be."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _folder(os.environ.get("HF_HOME") or f"{caches}/huggingface")


def cache() -> Path:
    """The folder of models, as huggingface_hub resolves it; it need not be."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    return _folder(given) if given else hub_home() / "hub"


def _folder(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
