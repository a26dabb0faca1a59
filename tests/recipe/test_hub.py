"""A hub id that cannot be had is one line at once: switched off, refused, or never answered."""

import http.server
import os
import socket
import subprocess
import sys
import threading

import pytest

from hfllm.recipe import hub
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.hub import DATA, hub_problem
from hfllm.runs.preflight import preflight


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    for name in (*hub.SWITCHES, "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HFLLM_HUB_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub._no_answer.cache_clear()


@pytest.fixture()
def deaf():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def put_in_cache(tmp_path, kind="models"):
    folder = tmp_path / f"hf/hub/{kind}--owner--name/snapshots/abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def test_switched_off_is_told_with_the_switch(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    problem = hub_problem("owner/name")
    assert problem.startswith("the hub id owner/name is not in the cache (")
    assert "HF_HUB_OFFLINE=1 is set" in problem


def test_a_hub_that_refuses_or_never_answers_is_told(monkeypatch, deaf):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", closed)
    assert f"{closed} cannot be reached (" in hub_problem("owner/name")
    monkeypatch.setenv("HF_ENDPOINT", deaf)
    monkeypatch.setenv("HFLLM_HUB_TIMEOUT", "0.3")
    assert f"{deaf} " in hub_problem("owner/name")
    monkeypatch.setenv("HFLLM_HUB_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="HFLLM_HUB_TIMEOUT: 'soon' is not a number"):
        hub_problem("owner/name")


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch):
    woken = threading.Event()

    def hangs(*_, **__):
        woken.wait(60)
        raise OSError("too late")

    monkeypatch.setattr(hub.urllib.request, "urlopen", hangs)
    monkeypatch.setenv("HFLLM_HUB_TIMEOUT", "0.1")
    assert "does not answer within 0.1 s" in hub_problem("owner/name")
    woken.set()


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_hub_that_answers_is_tried(monkeypatch, status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HFLLM_HUB_TIMEOUT", "20")
        assert hub_problem("owner/name") is None


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_what_is_cached_is_read_without_asking_again(monkeypatch, tmp_path, deaf, kind):
    put_in_cache(tmp_path, kind)
    monkeypatch.setenv("HF_ENDPOINT", deaf)
    monkeypatch.setenv("HFLLM_HUB_TIMEOUT", "0.1")
    monkeypatch.setattr(hub, "_go_offline", lambda _: monkeypatch.setenv("HF_HUB_OFFLINE", "1"))
    assert hub_problem("owner/name", kind) is None
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # the libraries would retry for a minute


def test_a_dry_run_tells_every_id(workspace, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    workspace.recipe(
        {"sft": {"init": "owner/name", "data": {"mixture": [{"hub": "owner/chats"}]}}},
        only=("sft",),
    )
    with pytest.raises(RecipeError) as caught:
        preflight(workspace.load(), ["sft"])
    init, data = caught.value.problems
    assert init.startswith("sft.init: the hub id owner/name is not in the cache")
    assert data.startswith("sft.data.mixture[0].hub: the hub id owner/chats is not in the cache")


COMMANDS = [
    "run recipe.yaml --dry-run",
    "chat owner/name",
    "eval owner/name --tests x.jsonl",
    "tokens text --tokenizer owner/name",
    "import owner/name out",
]


@pytest.mark.parametrize("offline", ["1", "0"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_verb_ends_in_one_line(workspace, deaf, tmp_path, command, offline):
    workspace.recipe({"sft": {"init": "owner/name"}}, only=("sft",))
    env = {**os.environ, "HF_HUB_OFFLINE": offline, "HF_ENDPOINT": deaf, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "hfllm", *command.split()],
        env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "owner/name" in line


def test_data_of_the_old_form_has_a_name_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "the hub id squad is not" in hub_problem("squad", DATA)
    (tmp_path / "hf/datasets/squad").mkdir(parents=True)
    assert hub_problem("squad", DATA) is None


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"XDG_CACHE_HOME": "/x/caches"},
        {"HF_HOME": "$HOME/hf", "XDG_CACHE_HOME": "/x/caches"},
        {"HUGGINGFACE_HUB_CACHE": "/x/old"},
        {"HF_HUB_CACHE": "~/new", "HUGGINGFACE_HUB_CACHE": "/x/old"},
    ],
)
def test_the_cache_is_where_the_library_has_it(monkeypatch, env):
    for name in ("HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    code = "from huggingface_hub.constants import *; print(HF_HOME); print(HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [str(hub.hub_home()), str(hub._cache())] == done.stdout.split()


def test_the_reason_is_the_users_after_a_cached_id_too(monkeypatch, tmp_path):
    put_in_cache(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", closed)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # both are set back after the test
    monkeypatch.setenv(hub.UNASKED, "0")
    monkeypatch.delenv(hub.UNASKED)
    monkeypatch.setattr(hub.sys, "modules", {})
    assert hub_problem("owner/name") is None and os.environ["HF_HUB_OFFLINE"] == "1"
    problem = hub_problem("owner/other")
    assert "cannot be reached" in problem and "HF_HUB_OFFLINE" not in problem
