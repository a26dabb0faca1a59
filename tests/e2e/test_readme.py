"""Every command of the README's code blocks is run here in a short form, or by .ci/run."""

import re
import shlex
from pathlib import Path

import pytest
from small_demo import ROOT, SMALL

pytestmark = pytest.mark.e2e

TAKES_OVERRIDES = ("run", "show", "report")
ELSEWHERE = ("make ", "source ", "pip ")  # .ci/run


def commands() -> list[str]:
    """Lines of the README's bash blocks, comments cut off and continued lines joined."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


REAL_MODEL = [c for c in commands() if "smollm2" in c.lower()]  # tests/smollm2 runs them
HFLLM = [c for c in commands() if c.startswith("hfllm ") and c not in REAL_MODEL]
LAUNCH = [c for c in commands() if c.startswith("accelerate launch ")]


def test_no_command_is_left_out():
    here = HFLLM + LAUNCH + REAL_MODEL
    left = [c for c in commands() if c not in here and not c.startswith(ELSEWHERE)]
    assert not left and len(HFLLM) >= 6 and len(LAUNCH) >= 1
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(c.split()[1] in ci or c == "make demo" for c in commands() if c.startswith("make "))


def test_commands_on_the_real_model_are_run_by_its_own_tests():
    files = (ROOT / "tests" / "smollm2").glob("test_*.py")
    run = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert len(REAL_MODEL) >= 3
    for command in REAL_MODEL:
        _, verb, target = command.split()[:3]
        named = (f'"{verb}", folder', f'("{Path(target).stem}"', f'"{Path(target).name}"')
        assert any(name in run for name in named), command


@pytest.mark.parametrize("command", HFLLM)
def test_hfllm_command(demo, command):
    words = shlex.split(command)
    if words[1] in TAKES_OVERRIDES:
        words += SMALL
    done = demo.type(*words, text="Who are you?\n")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() and "Traceback" not in done.stderr


def test_the_launch_line(demo, tmp_path):
    words = shlex.split(LAUNCH[0])
    assert words[:2] == ["accelerate", "launch"] and Path(ROOT, words[2]).is_file()
    done = demo.type("accelerate.commands.launch", *words[2:], *SMALL,
                     "name=launched", "pretrain.trainer.max_steps=4")  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (demo.folder / "runs/launched/pretrain/model/model.safetensors").is_file()
