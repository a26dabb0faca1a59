"""Find the model that is to be exported, its config and tokenizer, before any weight is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from hfllm.inference.load import find_model, is_chat_model
from hfllm.inference.prompts import end_of_turn_id
from hfllm.modeling.adapters import CONFIG as ADAPTER
from hfllm.modeling.adapters import merge_saved
from hfllm.modeling.load_report import reward_model_problem
from hfllm.recipe.errors import reading
from hfllm.recipe.model_names import is_gguf, model_name
from hfllm.tokenization.apply_template import take_default_template


@dataclass(frozen=True)
class Source:
    """A language model's folder, and what is read of it before its weights."""

    folder: Path
    name: str  # for files and headers
    config: Any
    tokenizer: PreTrainedTokenizerBase
    generation: GenerationConfig
    is_chat: bool

    @property
    def stop_ids(self) -> set[int]:
        """Ids that end an answer: of the generation config, the tokenizer's eos, a turn's end."""
        configured = self.generation.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        stops = {*listed, self.tokenizer.eos_token_id, end_of_turn_id(self.tokenizer)}
        return {i for i in stops if i is not None}

    @property
    def origin(self) -> dict[str, Any]:
        """Name, licence and source as an imported GGUF file said them; empty where unknown."""
        manifest = self.folder / "manifest.json"
        said = json.loads(manifest.read_text()) if manifest.is_file() else {}
        return said if said.get("kind") == "import" else {}


@contextmanager
def open_source(reference: str) -> Iterator[Source]:
    """Find a model by a folder, a step's folder, a hub id or a .gguf file.

    An adapter's folder is merged into its base model, in a temporary folder until the end.

    Raises:
        ValueError: no model there, a reward model, or a damaged folder (one line).
    """
    place = find_model(reference)
    folder = Path(place) if Path(place).is_dir() else _fetched(place)
    name = Path(reference).stem if is_gguf(reference) else step_name(reference)
    with TemporaryDirectory(prefix="hfllm-merged.") as scratch:
        if (folder / ADAPTER).is_file() and not (folder / "config.json").is_file():
            print(f"merging the adapter {folder} into its base model", flush=True)
            for note in merge_saved(folder, Path(scratch)):
                print(f"note: {note}", flush=True)
            folder = Path(scratch)
        yield _source(folder, name)


def step_name(reference: str) -> str:
    """What to call a model: runs/demo/sft, its model/ and its adapter/ are all `sft`."""
    path = Path(reference)
    return model_name(path.parent / "model" if path.name == "adapter" else path)


def _source(folder: Path, name: str) -> Source:
    if problem := reward_model_problem(str(folder)):
        raise ValueError(problem)
    with reading(f"cannot load {folder}"):
        config = AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        generation = (
            GenerationConfig.from_pretrained(folder)
            if (folder / "generation_config.json").is_file()
            else GenerationConfig.from_model_config(config)
        )
    take_default_template(tokenizer)
    return Source(folder, name, config, tokenizer, generation, is_chat_model(folder))


def find_adapter(reference: str) -> Path:
    """The adapter of a step, by the step's folder, its model/ or its adapter/.

    Raises:
        ValueError: there is none.
    """
    path = Path(reference)
    places = [path, path / "adapter", path.parent / "adapter"]
    for place in places:
        if (place / ADAPTER).is_file():
            return place
    raise ValueError(
        f"{reference} has no adapter beside it: only a step with `peft` writes one; take --adapter "
        "merged"
    )


def _fetched(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "README.md"]
    with reading(f"cannot fetch {hub_id}"):
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
