"""A hub id that cannot be had is one line at once: switched off, refused, or never answered."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from hfllm.recipe import hub, one_answer
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.hub import hub_problem
from hfllm.recipe.hub_cache import DATA, MODEL, TOKENIZER, cache, hub_home
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


WHOLE = ("config.json", "tokenizer.json", "model.safetensors")


def put_in_cache(tmp_path, *files):
    """A snapshot of owner/name as huggingface_hub lays it out."""
    repository = tmp_path / "hf/hub/models--owner--name"
    for name in ("refs/main", *(f"snapshots/abc/{file}" for file in files or WHOLE)):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("abc" if name == "refs/main" else "{}")
    return repository / "snapshots/abc"


def prepare_data(tmp_path, name):
    """A data set as `datasets` keeps it after its first load."""
    info = tmp_path / f"hf/datasets/{name}/default/0.0.0/abc/dataset_info.json"
    info.parent.mkdir(parents=True)
    info.write_text("{}")


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


@pytest.mark.parametrize("kind", [MODEL, TOKENIZER, DATA])
def test_what_is_cached_is_read_without_asking_again(monkeypatch, tmp_path, deaf, kind):
    prepare_data(tmp_path, "owner___name") if kind == DATA else put_in_cache(tmp_path)
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
    prepare_data(tmp_path, "squad")
    assert hub_problem("squad", DATA) is None
    prepare_data(tmp_path, "owner___smol_talk")  # the library's name of the folder
    assert hub_problem("owner/SmolTalk", DATA) is None


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
    assert [str(hub_home()), str(cache())] == done.stdout.split()


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


INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        (("config.json",), "a tokenizer and weights"),
        (("config.json", "tokenizer.json"), "weights"),
        (("config.json", "model.safetensors"), "a tokenizer"),
        (("tokenizer.json", "model.safetensors"), "config.json"),
        (("config.json", "vocab.json", "pytorch_model.bin"), None),
        (("adapter_config.json", "tokenizer.model", "adapter_model.safetensors"), None),
        (WHOLE, None),
    ],
)
def test_a_part_of_a_model_in_the_cache_is_no_model(monkeypatch, tmp_path, files, lacks):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    put_in_cache(tmp_path, *files)
    problem = hub_problem("owner/name")
    if lacks is None:
        assert problem is None
    else:
        assert problem == (
            f"the hub id owner/name is in the cache without {lacks} ({tmp_path}/hf/hub), and "
            "HF_HUB_OFFLINE=1 is set; connect, or name a folder on this disk"
        )


def test_an_index_counts_with_all_its_shards_and_links_with_what_they_point_to(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = put_in_cache(tmp_path, "config.json", "tokenizer.json", "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text("{")
    assert "without a readable model.safetensors.index.json (" in hub_problem("owner/name")
    index.write_text(json.dumps(INDEX))
    lacks = "without 1 of its files of weights (model-2.safetensors first) ("
    assert lacks in hub_problem("owner/name")
    (folder / "model-2.safetensors").symlink_to("../../blobs/fetched-half")
    assert lacks in hub_problem("owner/name")
    (tmp_path / "hf/hub/models--owner--name/blobs").mkdir()
    (tmp_path / "hf/hub/models--owner--name/blobs/fetched-half").write_text("whole")
    assert hub_problem("owner/name") is None


def test_a_tokenizer_alone_is_enough_where_one_is_named(monkeypatch, tmp_path, workspace):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    put_in_cache(tmp_path, "tokenizer.json")
    assert hub_problem("owner/name", TOKENIZER) is None
    workspace.recipe({"pretrain": {"tokenizer": "owner/name"}}, only=("pretrain",))
    preflight(workspace.load(), ["pretrain"], with_trainers=False)


def test_another_revision_or_a_snapshot_of_a_data_set_is_not_loaded_by_the_id(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = put_in_cache(tmp_path)
    folder.rename(folder.with_name("of-another-branch"))
    assert "the hub id owner/name is not in the cache" in hub_problem("owner/name")
    snapshot = tmp_path / "hf/hub/datasets--owner--name/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("what `datasets` fetches first")
    assert "the hub id owner/name is not in the cache" in hub_problem("owner/name", DATA)


@pytest.fixture()
def as_rank(monkeypatch):
    """Ask as one of two processes of a launch; `answer` is what the hub would tell this one."""

    def ask(rank, answer):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setattr(hub, "_ask", lambda *_: answer)
        hub._no_answer.cache_clear()
        return hub._no_answer("https://hub", 1.0)

    return ask


@pytest.mark.parametrize("answer", [None, "https://hub cannot be reached (closed)"])
def test_the_processes_of_a_step_have_the_answer_of_the_first(
    monkeypatch, tmp_path, as_rank, answer
):
    monkeypatch.setattr(one_answer.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_an_ended_launch = tmp_path / f"hfllm-hub-{os.getuid()}-pid{ended.pid}-1.5-0.json"
    of_an_ended_launch.write_text("null")
    assert as_rank(0, answer) == answer
    assert as_rank(1, "another answer") == answer
    assert len(list(tmp_path.iterdir())) == 1 and not of_an_ended_launch.exists()


def test_they_wait_for_it_and_ask_by_themselves_where_none_comes(monkeypatch, tmp_path, as_rank):
    monkeypatch.setattr(one_answer.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(one_answer.time, "sleep", lambda _: None)
    monkeypatch.setattr(one_answer, "WAIT_S", 0)
    assert as_rank(1, "own answer") == "own answer"

    def meanwhile(_):
        one_answer._write(one_answer._file("hub"), "the first one's")

    monkeypatch.setattr(one_answer, "WAIT_S", 60)
    monkeypatch.setattr(one_answer.time, "sleep", meanwhile)
    assert as_rank(1, "own answer") == "the first one's"
