"""What every stage keeps to, whatever it does: hfllm's own, and any that is added.

A stage's tiny section stands here, in the tiny recipe, or as `TINY` in tests/stages/test_NAME.py,
with its evaluation switched on where it has one; it may read what the tiny recipe's other steps
make. `VARIANTS` there are changes of it under which a killed run must resume exactly, too.
"""

import dataclasses
import hashlib
import importlib
import json
import re
import shutil
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hfllm.launch import run_step
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.graph import ancestors
from hfllm.recipe.stage import matches
from hfllm.recipe.trainers import check_trainers
from hfllm.report.build import build_report
from hfllm.report.collect import read_run
from hfllm.runs.status import status
from hfllm.stages import find_stages
from hfllm.tokenization.chat_template import END
from tiny import Workspace, base_recipe, merge, write_jsonl

STAGES = find_stages()
TRAINING = [name for name in STAGES if STAGES[name].trains]
TESTS = {"tests": {"kind": "replies", "source": {"path": "data/prompts.jsonl"}, "limit": 3}}
HELD_OUT = {
    "sft": {"data": {"heldout": [{"path": "data/chats.jsonl", "limit": 4}]}},
    "reward": {"data": {"holdout": 0.2}},
}
VARIANTS: dict[str, Any] = {
    "pretrain": [{"optimizer": "muon"}],
    "sft": [{"peft": {"r": 2, "target_modules": ["q_proj"]}}],
    "ppo": [
        {"trainer": {"num_iterations": 1, "gradient_accumulation_steps": 2}},
        {"trainer": {"shared_critic": True, "generate_dtype": "bfloat16"}},
    ],
}
SECTIONS: dict[str, Any] = {
    "world": {"people": 24, "strangers": 30, "documents": 40, "chats": 20, "pairs": 20,
              "prompts": 10, "tests": 4},
    "curate": {"sources": [{"path": "data/documents.jsonl"}], "filters": None, "dedup": None},
    "instructions": {"prompts": [{"path": "data/prompts.jsonl"}], "tests": 2},
    "evaluate": {"models": ["sft"], "tasks": TESTS},
    "report": {},
}  # fmt: skip


def section(name: str) -> dict[str, Any]:
    """The stage's section of a recipe, small enough to run here."""
    if name in SECTIONS:
        return SECTIONS[name]
    if find_spec(f"test_{name}"):
        return importlib.import_module(f"test_{name}").TINY
    return base_recipe()[name]


def variants(name: str) -> list[Any]:
    """Changes of the section, the first of them none."""
    own = importlib.import_module(f"test_{name}") if find_spec(f"test_{name}") else None
    return [{}, *VARIANTS.get(name, ()), *getattr(own, "VARIANTS", ())]


def recipe_of(space: Workspace, name: str, changes: Any = None) -> None:
    """Write the tiny recipe with the stage's section in it, two steps long, its evaluation on."""
    tiny = merge(merge(section(name), HELD_OUT.get(name, {})), changes or {})
    if STAGES[name].trains:
        steps = {"max_steps": 2, "save_steps": 1, "logging_steps": 1, "eval_steps": 1}
        evaluated = {"eval_strategy": "steps"} if name in HELD_OUT else {}
        tiny = merge(tiny, {"trainer": steps | evaluated})
    space.recipe({name: tiny})


def make(space: Workspace, name: str) -> Any:
    """Run the stage's step, what it needs before it."""
    recipe = space.load()
    for parent in ancestors(recipe.steps, name):
        if not status(space.step(parent)).is_done and not recipe.steps[name].stage.reads_everything:
            run_step(space.step(parent))
    run_step(space.step(name))
    return space.step(name)


@pytest.fixture(scope="module")
def base(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished tiny run with a reward model: what any stage may read."""
    folder = tmp_path_factory.mktemp("conformance") / "base"
    shutil.copytree(finished, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Workspace(folder).run("reward")
    return folder


@pytest.fixture()
def space(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


def logged(step: Any) -> set[str]:
    if not step.metrics.is_file():
        return set()
    rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    return {key for row in rows for key in row} - {"step", "time_s"}


@pytest.mark.parametrize("name", STAGES)
def test_it_runs_from_a_tiny_recipe_and_tells_of_itself(space, name):
    recipe_of(space, name)
    stage, step = STAGES[name], make(space, name)
    assert status(step).is_done
    if stage.makes_model:
        assert (step.model / "model.safetensors").is_file()
        assert (step.model / "tokenizer.json").is_file()
    if stage.reads_everything:
        return
    page = build_report(step.recipe.run_dir, STAGES).read_text(encoding="utf-8")
    (view,) = (view for view in read_run(step.recipe.run_dir, STAGES).steps if view.name == name)
    assert escape(stage.sentence(view)) in page
    for words in stage.key_figure(view):
        assert escape(words) in page
    for chart in stage.charts:
        if any(len({row["step"] for row in view.metrics if k in row}) > 1
               for k in chart.match(sorted(logged(step)))):  # fmt: skip
            assert escape(chart.title) in page and escape(chart.meaning, quote=False) in page


@pytest.mark.parametrize("name", TRAINING)
def test_every_metric_it_logs_has_a_chart_or_is_named_as_left_out(space, name, capsys):
    recipe_of(space, name)
    stage, step = STAGES[name], make(space, name)
    keys = logged(step)
    assert "loss" in keys
    known = [*(key for chart in stage.charts for key in chart.metrics), *stage.uncharted]
    assert not [key for key in sorted(keys) if not any(matches(one, key) for one in known)]
    drawn = {key for key in keys for chart in stage.charts if chart.match([key])}
    assert not drawn & set(stage.uncharted)  # said twice
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith(f"{name}  step"))
    assert [key for key in stage.console if f"  {key} " in line][0] == "loss"


def rows_of(step: Any) -> list[dict[str, Any]]:
    """The log without what is a time, or a mean since the process began."""
    rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    times = re.compile(r"time|_runtime|_per_s|^train_|model_preparation")
    return [{k: v for k, v in row.items() if not times.search(k)} for row in rows]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.safetensors"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name in TRAINING for i in range(len(variants(name)))]
)
def test_a_killed_run_resumes_to_the_same_bits(space, name, number, monkeypatch):
    import transformers

    recipe_of(space, name, variants(name)[number])
    straight, told = digests(make(space, name).model), rows_of(space.step(name))
    shutil.rmtree(space.step(name).folder)
    train = transformers.Trainer.training_step

    def killed(self, *args, **kwargs):
        if self.state.global_step == 1:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transformers.Trainer, "training_step", killed)
        run_step(space.step(name))
    assert status(space.step(name)).state == "interrupted"
    assert list(space.step(name).checkpoints.glob("checkpoint-1"))
    resumed = make(space, name)
    assert "resuming from" in resumed.manifest.read_text()
    assert straight and digests(resumed.model) == straight
    assert told and rows_of(resumed) == told


SPELLED = f" z{END}m"


def spelling(row: Any) -> Any:
    """The row with SPELLED after the end of every text in it; the tiny models are short."""
    if isinstance(row, list):
        return [spelling(one) for one in row]
    ends = {key: row[key][-6:] + SPELLED for key in ("text", "content") if key in row}
    inner = {key: spelling(value) for key, value in row.items() if isinstance(value, list)}
    return {**row, **ends, **inner}


@pytest.mark.parametrize("name", TRAINING)
def test_a_control_token_that_a_text_spells_is_read_as_text(space, name, monkeypatch):
    from torch.nn import Embedding
    from transformers import AutoTokenizer

    for path in list(Path("data").glob("*.jsonl")):
        rows = [spelling(json.loads(line)) for line in path.read_text().splitlines()]
        write_jsonl(Path("data/spelled") / path.name, rows)
    recipe_of(space, name)
    changed = json.dumps(space.load().steps[name].given).replace('"data/', '"data/spelled/')
    space.recipe({name: json.loads(changed)})
    seen, forward = [], Embedding.forward

    def spy(self, ids):
        seen.extend(ids.reshape(-1, ids.shape[-1]).tolist())
        return forward(self, ids)

    monkeypatch.setattr(Embedding, "forward", spy)
    tokenizer = AutoTokenizer.from_pretrained(make(space, name).model)
    assert tokenizer.convert_tokens_to_ids(END) in tokenizer.all_special_ids
    texts = tokenizer.batch_decode(seen, skip_special_tokens=True)  # a real token is not in them
    assert any(SPELLED in text for text in texts)
    assert not [text for text in texts if SPELLED.replace(END, "") in text]


@pytest.mark.parametrize("name", STAGES)
def test_a_wrong_key_is_named_with_the_near_miss(space, name):
    recipe_of(space, name)
    key = max((item.name for item in dataclasses.fields(STAGES[name].config)), key=len)
    with pytest.raises(RecipeError) as caught:
        space.load(f"{name}.{key}x=1")
    assert caught.value.problems[0].startswith(f"{name}.{key}x: Key '{key}x' not in ")
    assert re.search(f"Did you mean( one of)?: '{key}'", caught.value.problems[0])
    if STAGES[name].trains:
        with pytest.raises(RecipeError, match="Did you mean( one of)?: 'learning_rate'"):
            check_trainers(space.load(f"{name}.trainer.learning_rat=1"), [name])


@pytest.mark.parametrize("name", STAGES)
def test_its_card_says_what_it_is(name):
    stage = STAGES[name]
    assert importlib.import_module(stage.module).__doc__
    assert stage.name == name
    for value, reason in stage.defaults.values():
        assert reason, value
    for chart in stage.charts:
        assert chart.unit and chart.better in ("", "up", "down")
    if stage.makes_model:
        assert stage.method and stage.console and stage.charts


@pytest.mark.parametrize("name", STAGES)
def test_what_its_module_has_for_the_stage_is_handed_to_it(name):
    """A check that is written and not handed over checks nothing."""
    stage = STAGES[name]
    module = importlib.import_module(stage.module)
    for item in dataclasses.fields(stage):
        written = vars(module).get(item.name)
        if callable(written) and written.__module__ == module.__name__:
            assert getattr(stage, item.name) is written, item.name
