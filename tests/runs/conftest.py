import pytest


@pytest.fixture(autouse=True)
def no_git(monkeypatch):
    """Two processes of git per recording would be most of these tests' time."""
    monkeypatch.setattr("hfllm.runs.record.git_state", dict)
