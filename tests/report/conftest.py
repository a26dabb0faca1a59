"""Fixtures: the run folder of run_fixture.py, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_fixture import write_run

from hfllm.report.collect import Run, read_run
from hfllm.stages import find_stages

STAGES = find_stages()


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run; tests must not write into it."""
    return write_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def run(run_dir: Path) -> Run:
    return read_run(run_dir, STAGES)
