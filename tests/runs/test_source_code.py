"""The user's own code is part of a step's fingerprint: what is found, and what it changes."""

import sys

import pytest

from hfllm.runs import fingerprint
from hfllm.runs.fingerprint import step_fingerprint
from hfllm.runs.manifest import Manifest
from hfllm.runs.record import recording
from hfllm.runs.source_code import changed_code, code_digests, functions_in, own_files
from hfllm.runs.status import status

TREE = {
    "my_rewards.py": "import json, torch\nfrom helpers import text\nimport pkg.deep.leaf\n",
    "helpers/__init__.py": "",
    "helpers/text.py": "def f():\n    from . import inside\n    import hfllm.rl.rewards\n",
    "helpers/inside.py": "from .. import nothing\nfrom helpers.text import f\n",
    "helpers/unused.py": "",
    "pkg/__init__.py": "from pkg.names import *\n",
    "pkg/names.py": "",
    "pkg/deep/leaf.py": "from ..names import x\nimport not_there\n",
    "my_stage.py": "raise RuntimeError('it must not be imported')\n",
    "broken.py": "def :\n",
}
REACHED = {"my_rewards.py", "helpers/__init__.py", "helpers/text.py", "helpers/inside.py",
           "pkg/__init__.py", "pkg/names.py", "pkg/deep/leaf.py"}  # fmt: skip
FUNCTIONS = ["my_rewards:f"]


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture()
def coded(workspace):
    for name, text in TREE.items():
        write(workspace.folder, name, text)
    workspace.recipe({"ppo": {"reward": None, "reward_functions": FUNCTIONS}})
    return workspace


def test_every_text_of_the_form_module_function_is_one_wherever_it_stands():
    config = {"a": ["x.y:f", "no"], "b": {"c": {"d": "m:g", "e": 3}}, "f": ("n:C.h",)}
    assert list(functions_in(config)) == ["x.y", "m", "n"]
    for text in ("C:/a", "a: b", "http://x", "12:30", "org/name", "a:b:c", "data.jsonl:7", ""):
        assert list(functions_in([text])) == []


def test_imports_are_followed_through_the_users_own_files_without_importing(coded, monkeypatch):
    write(coded.folder, "cache/__init__.py", "")  # as transformers puts its modules' cache there
    monkeypatch.syspath_prepend(str(coded.folder / "cache"))
    found = {path.relative_to(coded.folder).as_posix() if path.is_absolute() else path.as_posix()
             for path in own_files(["my_rewards"]).values()}  # fmt: skip
    assert found == REACHED
    assert not {"my_rewards", "helpers", "pkg"} & set(sys.modules)
    assert set(own_files(["my_stage", "broken"])) == {"my_stage", "broken"}
    for theirs in ("json", "os.path", "torch.nn", "hfllm.rl.rewards", "not_there", "sys"):
        assert own_files([theirs]) == {}


@pytest.mark.parametrize("name", sorted(REACHED))
def test_an_edit_of_any_of_them_makes_the_step_stale_and_names_the_file(coded, name):
    step = coded.step("ppo")
    with recording(step):
        pass
    assert set(Manifest.read(step.manifest).code) == REACHED
    assert status(step).state == "done"
    write(coded.folder, name, TREE[name] + "\nX = 1\n")
    now = status(coded.step("ppo"))
    assert (now.state, now.reason) == ("stale", f"its code: {name} changed")


def test_an_edit_of_other_files_changes_nothing(coded):
    before = step_fingerprint(coded.load(), "ppo")
    for name in ("helpers/unused.py", "my_stage.py", "elsewhere.py"):
        write(coded.folder, name, "X = 2\n")
    assert step_fingerprint(coded.load(), "ppo") == before
    assert step_fingerprint(coded.load(), "sft") == step_fingerprint(
        coded.load("ppo.trainer.max_steps=3"), "sft"
    )


def test_a_step_without_own_code_keeps_the_fingerprint_that_it_had(workspace):
    functions = "[hfllm.rl.rewards:length_reward]"
    recipe = workspace.load(f"ppo.reward_functions={functions}")
    assert code_digests(recipe.steps["ppo"]) == {}
    files = {"data[0]": fingerprint._outside_files("data/documents.jsonl")}
    parts = [fingerprint.config_fingerprint(recipe, "tokenizer"), files, {}]
    assert step_fingerprint(recipe, "tokenizer") == fingerprint.digest(parts)


def test_a_stage_of_the_users_own_is_code_too(workspace, monkeypatch):
    write(
        workspace.folder,
        "own_pkg/distill.py",
        "from own_pkg.loss import X\nfrom hfllm.stages.sft import Config, STAGE, build\n",
    )
    write(workspace.folder, "own_pkg/loss.py", "X = 1\n")
    monkeypatch.syspath_prepend(str(workspace.folder))
    workspace.recipe({"distill": {**workspace_sft(), "stage": "own_pkg.distill"}})
    spec = workspace.load().steps["distill"]
    assert set(code_digests(spec)) == {"own_pkg/distill.py", "own_pkg/loss.py"}


def workspace_sft():
    from tiny import base_recipe

    return base_recipe()["sft"] | {"init": "pretrain"}


def test_files_that_came_and_went_are_named():
    before, now = {"a.py": "1", "b.py": "1"}, {"a.py": "2", "c.py": "1"}
    line = "its code: a.py changed; c.py is new; b.py is no longer imported"
    assert changed_code(before, now) == line
    assert changed_code(now, now) is None
    many = {f"{i}.py": "1" for i in range(5)}
    assert changed_code({}, many) == "its code: 0.py is new; 1.py is new; 2.py is new; 2 more"
