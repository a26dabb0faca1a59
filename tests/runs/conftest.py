import pytest


@pytest.fixture(autouse=True)
def quick_recording(monkeypatch):
    """Two processes of git and a look at every package would be most of these tests' time."""
    for name in ("git_state", "library_versions", "hardware"):
        monkeypatch.setattr(f"hfllm.runs.record.{name}", dict)
