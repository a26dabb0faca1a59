"""Sending to the hub: said before it is sent, private by default, and no token is ever shown."""

import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from hfllm.export import hub
from hfllm.recipe import hub as reached

TOKEN = "hf_secret0123456789"


class FakeApi:
    """The part of HfApi that is used; `there` are repositories by name: private or not."""

    def __init__(self, there=(), error=None):
        self.there, self.error, self.sent = dict(there), error, []

    def repo_exists(self, name):
        return name in self.there

    def create_repo(self, name, private):
        self.there[name] = private

    def model_info(self, name):
        return SimpleNamespace(private=self.there[name])

    def upload_folder(self, repo_id, folder_path, **_):
        if self.error:
            raise self.error
        self.sent += [path.name for path in Path(folder_path).iterdir()]
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")


@pytest.fixture()
def online(monkeypatch):
    """A hub that answers, a token, and the API that is asked."""
    api = FakeApi()
    monkeypatch.setattr(hub, "why_unreachable", lambda: None)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    return api


def test_a_dry_run_lists_the_files_and_asks_nobody(folder, export, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    monkeypatch.setattr(hub, "why_unreachable", None)
    said = export(folder, "hub", "me/mine", "--dry-run")
    assert "me/mine, a private repository of the hub:" in said
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"):
        assert name in said
    assert "read back: it is the model in bf16" in said and "sent" not in said


def test_it_is_private_unless_asked(folder, export, online):
    said = export(folder, "hub", "me/mine")
    assert "sent: https://huggingface.co/me/mine/commit/1" in said and TOKEN not in said
    export(folder, "hub", "me/open", "--public")
    assert online.there == {"me/mine": True, "me/open": False}
    assert {"model.safetensors", "config.json", "README.md"} <= set(online.sent)


def test_a_repository_that_exists_is_kept_unless_forced(folder, export, online):
    online.there = {"me/mine": True, "me/open": False}
    assert "me/mine: it exists: name another" in export(folder, "hub", "me/mine")
    assert "it exists and is public" in export(folder, "hub", "me/open", "--force")
    assert not online.sent
    assert "sent:" in export(folder, "hub", "me/mine", "--force")


def test_an_error_is_one_line_without_the_token(folder, export, online):
    online.error = OSError(f"401 Unauthorized for Bearer {TOKEN}")
    said = export(folder, "hub", "me/mine")
    assert said == "error: me/mine: 401 Unauthorized for Bearer hf_..."


def test_without_a_token_or_a_network_it_ends_before_the_model_is_read(folder, export, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(hub, "why_unreachable", lambda: None)
    assert "no token of the hub on this machine; log in with" in export(folder, "hub", "me/mine")
    monkeypatch.setattr(hub, "why_unreachable", reached.why_unreachable)
    for name in reached.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    said = export(folder, "hub", "me/mine")
    assert (
        time.monotonic() - start < 4
        and "127.0.0.1:9 cannot be reached" in said
        and "--dry-run" in said
    )
