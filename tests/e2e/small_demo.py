"""The shipped demo in small, and a folder to type the README's commands in."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = (
    "world.people=12 world.strangers=80 world.documents=800 world.chats=400 world.pairs=200",
    "world.prompts=200 world.tests=24 tokenizer.vocab_size=600 pretrain.data.seq_len=128",
    "pretrain.model.hidden_size=64 pretrain.model.intermediate_size=128",
    "pretrain.model.num_hidden_layers=2 pretrain.model.num_attention_heads=2",
    "pretrain.model.num_key_value_heads=2 pretrain.trainer.max_steps=60",
    "pretrain.trainer.eval_steps=30 sft.trainer.num_train_epochs=1 sft.data.seq_len=128",
    "reward.trainer.num_train_epochs=1 reward.data.seq_len=128 ppo.trainer.max_steps=8",
    "ppo.trainer.per_device_train_batch_size=16 ppo.trainer.max_completion_length=24",
)
SMALL = " ".join(PARTS).split()


@dataclass
class Place:
    """A folder to type the README's commands in: configs/ and launch/ are the repository's."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "demo"

    def type(self, *words: str, text: str = "") -> subprocess.CompletedProcess:
        """Run `python -m WORDS` here."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            input=text,
            capture_output=True,
            text=True,
        )


def make_place(folder: Path) -> Place:
    for name in ("configs", "launch"):
        (folder / name).symlink_to(ROOT / name)
    return Place(folder)
