"""Fixture: the small world at its default size, generated once."""

import json
from pathlib import Path

import pytest

from hfllm.world.config import WorldConfig
from hfllm.world.generate import generate_world


class Files:
    """A generated world on disk, read on demand."""

    def __init__(self, folder: Path, counts: dict[str, int]) -> None:
        self.folder = folder
        self.counts = counts

    def rows(self, name: str) -> list[dict]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def world_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The world at its default size (half a second)."""
    folder = tmp_path_factory.mktemp("world")
    return Files(folder, generate_world(WorldConfig(), 0, folder))
