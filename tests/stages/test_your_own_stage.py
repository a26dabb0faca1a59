"""The stage module in docs/your-own-stage.md, as written there, runs without a change to hfllm."""

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hfllm import stages
from hfllm.recipe.errors import RecipeError
from hfllm.report.build import build_report
from tiny import TRAINER

DOCS = Path(__file__).parents[2] / "docs" / "your-own-stage.md"
STUDENT = {
    "stage": "my_stages.distill",
    "teacher": "sft",
    "data": {"seq_len": 64, "mixture": [{"path": "data/documents.jsonl"}]},
    "trainer": {**TRAINER, "max_steps": 3},
}


@pytest.fixture()
def module(trained, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    folder = trained.folder / "my_stages"
    folder.mkdir()
    (folder / "distill.py").write_text(code)
    monkeypatch.syspath_prepend(trained.folder)
    monkeypatch.delitem(sys.modules, "my_stages", raising=False)
    monkeypatch.delitem(sys.modules, "my_stages.distill", raising=False)
    return code


def test_the_documented_stage_runs_and_the_page_tells_of_it(trained, module):
    trained.recipe({"student": STUDENT})
    step = trained.run("student")
    manifest = json.loads(step.manifest.read_text())
    assert (manifest["stage"], manifest["status"]) == ("my_stages.distill", "done")
    assert manifest["ledger"] and (step.model / "model.safetensors").is_file()
    losses = trained.losses("student")
    assert len(losses) == 3 and all(loss > 0 for loss in losses)
    recipe = trained.load()
    assert recipe.steps["student"].parents == ["pretrain", "sft"]
    page = build_report(recipe.run_dir, recipe.stages).read_text()
    assert "In student, a student learned from its teacher" in page
    assert "KL to the teacher" in page


def test_its_keys_are_checked_like_any_other(trained, module):
    trained.recipe({"student": STUDENT | {"teacher": None}})
    with pytest.raises(RecipeError, match=r"student.teacher: must be set: a step, model folder"):
        trained.load()
    trained.recipe({"student": STUDENT})
    with pytest.raises(RecipeError, match="Did you mean( one of)?: 'teacher'"):
        trained.load("student.techer=sft")
    with pytest.raises(RecipeError, match="makes no language model"):
        trained.load("student.teacher=reward")


COPY = '''"""Copy: a model step that trains nothing."""
import shutil
from dataclasses import dataclass
from hfllm.recipe.stage import LANGUAGE_MODEL, Stage, model_ref

@dataclass
class Config:
    source: str | None = model_ref(required=True)

STAGE = Stage(config=Config, makes=LANGUAGE_MODEL)

def run(config, step, manifest):
    shutil.copytree(step.model_of(config.source), step.model)
'''


def test_a_stage_may_make_a_model_without_training(trained, module, monkeypatch):
    (trained.folder / "my_stages" / "copy.py").write_text(COPY)
    trained.recipe(
        {"merged": {"stage": "my_stages.copy", "source": "sft"}, "reward": {"init": "merged"}}
    )
    with pytest.raises(ValueError, match="its parent 'merged' is missing .*--only merged"):
        trained.run("reward")  # a model is never made on the way
    monkeypatch.setenv("RANK", "1")
    trained.run("merged")  # one process makes it
    assert not trained.step("merged").folder.exists()
    monkeypatch.setenv("RANK", "0")
    trained.run("merged")
    assert (trained.run("reward").model / "model.safetensors").is_file()


def test_a_module_that_is_no_stage_is_told_in_one_line(trained, module):
    trained.recipe({"student": STUDENT | {"stage": "my_stages/distill.py"}})
    with pytest.raises(RecipeError, match="no module .*; write my_stages.distill"):
        trained.load()
    trained.recipe({"student": STUDENT | {"stage": "my_stages.distil"}})
    with pytest.raises(RecipeError, match="student: stage 'my_stages.distil': no module"):
        trained.load()
    (trained.folder / "my_stages" / "empty.py").write_text("x = 1\n")
    trained.recipe({"student": STUDENT | {"stage": "my_stages.empty"}})
    with pytest.raises(RecipeError, match=r"has no STAGE, a Stage; see docs/your-own-stage.md"):
        trained.load()
    for name, code, problem in (
        ("half", module.replace("def build(", "def built("), "has no function `build`"),
        ("rows", module.replace("makes=LANGUAGE_MODEL", "makes='data'"), "set `makes` to one of"),
        ("keys", module.replace("(TrainConfig)", ""), "its config must be a TrainConfig"),
        ("typo", module.replace("STAGE =", "STAGE = ="), r"failed at .*typo.py:\d+: SyntaxError"),
        ("dies", "\n{}['k']", "importing my_stages.dies failed at .*dies.py:2: KeyError: 'k'"),
        ("lacks", "import nowhere", "failed at .*lacks.py:1: ModuleNotFoundError: No module named"),
        ("ends", "raise SystemExit(3)", "failed at .*ends.py:1: SystemExit: 3"),
    ):
        (trained.folder / "my_stages" / f"{name}.py").write_text(code)
        trained.recipe({"student": STUDENT | {"stage": f"my_stages.{name}"}})
        with pytest.raises(RecipeError, match=problem):
            trained.load()


def test_an_installed_package_adds_a_stage_under_a_name(trained, module, monkeypatch):
    points = [EntryPoint("distill", "my_stages.distill", stages.GROUP)]
    monkeypatch.setattr(stages, "entry_points", lambda group: points)
    assert stages.find_stages()["distill"].chat is False
    trained.recipe({"student": STUDENT | {"stage": "distill"}})
    assert trained.step("student").stage.module == "my_stages.distill"
    points[0] = EntryPoint("sft", "my_stages.distill", stages.GROUP)
    with pytest.raises(ValueError, match="stage 'sft' is there already"):
        stages.find_stages()
