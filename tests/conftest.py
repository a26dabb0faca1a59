"""Fixtures for every room: the tiny workspace, a finished copy of it, a BPE and a Llama; no hub."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiny import MODEL, Workspace, documents


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPU of a machine that has one: the figures are a CPU's, but for `-m gpu`."""
    if "gpu" not in config.getoption("markexpr").replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `gpu` where there is none, before its fixtures are made."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def same_signals_and_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run in this process must leave no handler behind, nor a launcher's variables."""
    hfllm = ("HFLLM_FORCE", "HFLLM_LOCK_HELD", "HFLLM_SLOW")
    for name in (*hfllm, "WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture()
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A fresh folder with the tiny data and recipe; the working directory for the test."""
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path).fill()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose tokenizer, pretrain and sft steps are done; copy it, do not write there."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        space = Workspace(folder).fill()
        space.run("tokenizer")
        space.run("pretrain")
        space.run("sft")
    return folder


@pytest.fixture()
def trained(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of `finished`, to do with as one likes."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def bpe() -> Any:
    """The 300-token byte-level BPE with our chat template."""
    from hfllm.tokenization.config import TokenizerConfig
    from hfllm.tokenization.train import train_tokenizer

    return train_tokenizer((row["text"] for row in documents()), TokenizerConfig(vocab_size=300))


@pytest.fixture()
def llama(bpe: Any) -> Any:
    """The 2-layer Llama of the tiny recipe, freshly made from seed 0."""
    from hfllm.modeling.build import build_model

    return build_model(dict(MODEL), bpe, 64, seed=0)
