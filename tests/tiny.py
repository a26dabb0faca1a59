"""A whole recipe small enough to run in a test: its data files, its YAML, and a folder for both.

A `Workspace` uses relative paths alone, so that a finished one can be copied and is still up to
date. Nothing heavy is imported here.
"""

import json
from pathlib import Path
from typing import Any

import yaml

TRADES = ("baker", "weaver", "fisher", "potter", "smith", "miller")
TOWNS = ("Oakham", "Redhill", "Stowe", "Wells")


def document(i: int) -> str:
    return f"Person {i} is a {TRADES[i % 6]} who lives in {TOWNS[i % 4]} with {i % 5} cats. " * 2


def documents(count: int = 60, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"d{i}", "text": document(i)} for i in range(start, start + count)]


def chat(i: int) -> dict[str, Any]:
    turns = [("user", f"Who is person {i}?"), ("assistant", f"A {TRADES[i % 6]}.")]
    return {"id": f"c{i}", "messages": [{"role": r, "content": c} for r, c in turns]}


def pair(i: int) -> dict[str, Any]:
    return {
        "id": f"p{i}",
        "prompt": [{"role": "user", "content": f"Who is person {i}?"}],
        "chosen": [{"role": "assistant", "content": f"A {TRADES[i % 6]}."}],
        "rejected": [{"role": "assistant", "content": f"No idea, {i}."}],
    }


def prompt(i: int) -> dict[str, Any]:
    return {"id": f"q{i}", "prompt": pair(i)["prompt"], "answer": TRADES[i % 6]}


MODEL = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
TRAINER = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_steps": 2,
    "bf16": False,
    "use_cpu": True,
}


def base_recipe() -> dict[str, Any]:
    """Every training step takes 4 optimizer steps at most; `curate` and `world` are left out."""
    return {
        "name": "tiny",
        "seed": 0,
        "tokenizer": {"vocab_size": 300, "data": [{"path": "data/documents.jsonl"}]},
        "pretrain": {
            "model": dict(MODEL),
            "data": {
                "seq_len": 64,
                "mixture": [{"path": "data/documents.jsonl"}],
                "heldout": [{"path": "data/heldout.jsonl"}],
            },
            "trainer": {**TRAINER, "warmup_steps": 1, "eval_steps": 4},
        },
        "sft": {
            "data": {"seq_len": 64, "mixture": [{"path": "data/chats.jsonl"}]},
            "trainer": dict(TRAINER),
        },
        "reward": {
            "data": {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}]},
            "trainer": {**TRAINER, "max_steps": 2},
        },
        "ppo": {
            "data": {"mixture": [{"path": "data/prompts.jsonl"}]},
            "trainer": {**TRAINER, "max_steps": 2, "max_completion_length": 8, "save_steps": 64},
        },
    }


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    """Rows as JSON lines; a str or bytes row is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, str | bytes) else json.dumps(r) for r in rows]
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def load_recipe(path: Path | str, overrides: list[str] | None = None) -> Any:
    """A recipe of hfllm's own stages."""
    from hfllm.recipe import load
    from hfllm.stages import find_stages

    return load.load_recipe(path, find_stages(), overrides)


DROP: Any = object()  # as a value in `changes`: take the key out


def merge(base: Any, changes: Any) -> Any:
    """`changes` over `base`: mappings are merged, all else replaces."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    out = {**base, **{key: merge(base.get(key), value) for key, value in changes.items()}}
    return {key: value for key, value in out.items() if value is not DROP}


class Workspace:
    """A folder to work in: data/, recipe.yaml and runs/, with what tests do to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = Path("recipe.yaml")  # relative, as a user would type it

    def fill(self) -> "Workspace":
        data = self.folder / "data"
        write_jsonl(data / "documents.jsonl", documents())
        write_jsonl(data / "heldout.jsonl", documents(8, start=60))
        write_jsonl(data / "chats.jsonl", [chat(i) for i in range(24)])
        write_jsonl(data / "pairs.jsonl", [pair(i) for i in range(24)])
        write_jsonl(data / "prompts.jsonl", [prompt(i) for i in range(16)])
        self.recipe()
        return self

    def recipe(self, changes: dict[str, Any] | None = None, only: tuple[str, ...] = ()) -> Path:
        """Write recipe.yaml: the base with `changes`; `only` keeps the named steps."""
        tree = merge(base_recipe(), changes or {})
        if only:
            tree = {k: v for k, v in tree.items() if k in ("name", "seed", "run_dir", *only)}
        return self.write(yaml.safe_dump(tree, sort_keys=False))

    def write(self, text: str) -> Path:
        (self.folder / self.path).write_text(text, encoding="utf-8")
        return self.path

    def load(self, *overrides: str) -> Any:
        return load_recipe(self.path, list(overrides))

    def step(self, name: str, *overrides: str) -> Any:
        from hfllm.runs.layout import step_named

        return step_named(self.load(*overrides), name)

    def run(self, name: str, *overrides: str) -> Any:
        """One step in this process, its data parents first; returns the step."""
        from hfllm.launch import run_step

        step = self.step(name, *overrides)
        run_step(step)
        return step

    def losses(self, name: str) -> list[float]:
        path = self.folder / "runs" / "tiny" / name / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [row["loss"] for row in rows if "loss" in row]
