"""Every command of README.md and its pages is run here in a short form, or by .ci/run."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from small_demo import ROOT, SMALL

from readme import commands

pytestmark = pytest.mark.e2e

TAKES_OVERRIDES = ("run", "show", "report", "plan")
ELSEWHERE = ("make ", "source ", "pip ")  # .ci/run

# tests/smollm2 runs these
REAL_MODEL = [c for c in commands() if "smollm2" in c.lower() and c.startswith("hfllm ")]
OURS = [c for c in commands() if c.startswith("hfllm ") and c not in REAL_MODEL]
SERVERS = [c for c in OURS if c.startswith("hfllm serve ")]  # they do not end by themselves
HFLLM = [c for c in OURS if c not in SERVERS]
LAUNCH = [c for c in commands() if c.startswith("accelerate launch ")]
TOOLS = [c for c in commands() if c.startswith("python tools/")]


def test_no_command_is_left_out():
    here = HFLLM + SERVERS + LAUNCH + REAL_MODEL + TOOLS
    left = [c for c in commands() if c not in here and not c.startswith(ELSEWHERE)]
    assert not left and len(HFLLM) >= 6 and len(LAUNCH) >= 1 and len(TOOLS) >= 2
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(c.split()[1] in ci or c == "make demo" for c in commands() if c.startswith("make "))


def test_commands_on_the_real_model_are_run_by_its_own_tests():
    files = (ROOT / "tests" / "smollm2").glob("test_*.py")
    run = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert len(REAL_MODEL) >= 3
    for command in REAL_MODEL:
        verb = command.split()[1]
        target = next(word for word in command.split() if "smollm2" in word.lower())
        named = (f'"{verb}"', f'("{Path(target).stem}"', f'"{Path(target).name}"')
        assert any(name in run for name in named), command


@pytest.mark.parametrize("command", HFLLM)
def test_hfllm_command(demo, command):
    words = shlex.split(command)
    if words[1] in TAKES_OVERRIDES:
        words += SMALL
    done = demo.type(*words, text="Who are you?\n")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_answers_and_ends_when_it_is_told_to(demo, command):
    words = [sys.executable, "-m", *shlex.split(command), "--port", "0"]
    with subprocess.Popen(words, cwd=demo.folder, stdout=subprocess.PIPE, text=True) as server:
        said = iter(server.stdout)
        found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in said)
        url = next(match[0] for match in found if match)
        body = {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 4}
        request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode(),
                          {"Content-Type": "application/json"})  # fmt: skip
        with urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
        server.send_signal(signal.SIGTERM)
        rest = "".join(said)
    assert answer["usage"]["completion_tokens"] > 0 and answer["choices"][0]["message"]["content"]
    assert server.returncode == 0 and "Traceback" not in rest


def test_the_launch_line(demo, tmp_path):
    words = shlex.split(LAUNCH[0])
    assert words[:2] == ["accelerate", "launch"] and Path(ROOT, words[2]).is_file()
    done = demo.type("accelerate.commands.launch", *words[2:], *SMALL,
                     "name=launched", "pretrain.trainer.max_steps=4")  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (demo.folder / "runs/launched/pretrain/model/model.safetensors").is_file()


def test_the_demos_table_and_picture_are_made_from_its_run_folder(demo, tmp_path):
    page, picture = tmp_path / "README.md", tmp_path / "demo.svg"
    shutil.copy(ROOT / "README.md", page)
    for words in (
        ("tools/results.py", demo.run, "--block", "demo", "--into", page),
        ("tools/picture.py", demo.run, "--into", picture),
    ):
        done = subprocess.run(
            [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    block = page.read_text().split("<!-- results:demo ")[1].split("<!-- /results:demo -->")[0]
    assert "| Known facts, new phrasings: right | " in block and "`hfllm run configs/demo" in block
    assert picture.read_text().startswith("<svg")
