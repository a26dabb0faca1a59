"""Loading a recipe: types, unknown keys, overrides, and all problems listed at once."""

from pathlib import Path

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.stages import find_stages
from tiny import load_recipe

ROOT = Path(__file__).parents[2]
CONFIGS = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("benchmarks/*.yaml")])
SMALL = """
tokenizer: {data: [{path: a.jsonl}]}
pretrain:
  model: {model_type: llama}
  data: {mixture: [{path: a.jsonl, weight: 2}]}
  trainer: {learning_rate: 3e-3}
"""


@pytest.fixture()
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides):
        Path("r.yaml").write_text(text)
        return load_recipe("r.yaml", list(overrides))

    return load


@pytest.fixture()
def problems(load):
    def problems(text, *overrides):
        with pytest.raises(RecipeError) as caught:
            load(text, *overrides)
        assert all(line.startswith("r.yaml: ") for line in str(caught.value).splitlines())
        return caught.value.problems

    return problems


# models of other recipes that smollm2-reward.yaml and demo-dpo.yaml start from
GOES_ON_FROM = [("smollm2-cpu", "sft"), ("smollm2-cpu", "reward"),
                *(("demo", step) for step in ("sft", "reward", "ppo"))]  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_recipe_loads(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run, step in GOES_ON_FROM:
        (tmp_path / "runs" / run / step / "model").mkdir(parents=True)
    assert load_recipe(path).steps


def test_there_are_shipped_recipes():
    assert "demo" in [path.stem for path in CONFIGS]


def test_values_become_typed_configs(load):
    spec = load(SMALL).steps["pretrain"]
    assert spec.config.data.mixture[0].weight == 2.0
    assert isinstance(spec.config.data.mixture[0].weight, float)
    assert spec.config.trainer == {"learning_rate": 0.003}
    assert spec.config.data.seq_len == 512
    assert spec.given["data"] == {"mixture": [{"path": "a.jsonl", "weight": 2}]}


def test_name_run_dir_and_seed_have_defaults_and_overrides(load):
    recipe = load(SMALL)
    assert (recipe.name, str(recipe.run_dir), recipe.seed) == ("r", "runs/r", 0)
    recipe = load(SMALL, "name=x", "run_dir=/tmp/elsewhere", "seed=7")
    assert (recipe.name, str(recipe.run_dir), recipe.seed) == ("x", "/tmp/elsewhere/x", 7)


def test_a_null_section_is_a_step_with_its_defaults(load):
    assert load(SMALL + "report:\n").steps["report"].config.side_by_side == 12


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("pretrain.trainer.learning_rate=1e-5", "learning_rate", 1e-5),
        ("pretrain.trainer.learning_rate=2", "learning_rate", 2),
        ("pretrain.trainer.bf16=true", "bf16", True),
        ("pretrain.trainer.report_to=none", "report_to", "none"),
        ("pretrain.trainer.run_name=null", "run_name", None),
        ("pretrain.trainer.lr_scheduler_kwargs={a: 1}", "lr_scheduler_kwargs", {"a": 1}),
        ("pretrain.trainer.run_name=a=b", "run_name", "a=b"),
        ("pretrain.trainer.run_name=", "run_name", None),
    ],
)
def test_overrides_are_read_as_yaml(load, override, key, value):
    trainer = load(SMALL, override).steps["pretrain"].config.trainer
    assert trainer[key] == value
    assert type(trainer[key]) is type(value)


def test_an_override_reaches_into_a_list_and_may_replace_it(load):
    recipe = load(SMALL, "pretrain.data.mixture[0].limit=3")
    source = recipe.steps["pretrain"].config.data.mixture[0]
    assert (source.path, source.limit, source.weight) == ("a.jsonl", 3, 2.0)
    recipe = load(SMALL, "pretrain.data.mixture=[{path: b.jsonl}]")
    assert [s.path for s in recipe.steps["pretrain"].config.data.mixture] == ["b.jsonl"]


def test_a_mapping_override_is_merged_and_the_last_one_wins(load):
    recipe = load(SMALL, "pretrain.trainer={max_steps: 5}", "pretrain.trainer.max_steps=6")
    assert recipe.steps["pretrain"].config.trainer == {"learning_rate": 3e-3, "max_steps": 6}


def test_interpolation_sees_overrides(load):
    text = SMALL + "sft: {data: {mixture: [{path: c}], seq_len: '${pretrain.data.seq_len}'}}\n"
    recipe = load(text, "pretrain.data.seq_len=96")
    assert recipe.steps["sft"].config.data.seq_len == 96


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sft: {data: {seq_ln: 3, mixture: []}}", "sft.data.seq_ln: Key 'seq_ln' not in"),
        ("sft: {trainr: {}}", "Did you mean: 'trainer'?"),
        ("sft: {data: {seq_len: long}}", "sft.data.seq_len: Value 'long' of type 'str' could"),
        ("sft: {data: {mixture: {path: a}}}", "sft.data.mixture: must be a list, not {'path'"),
        ("sft: {data: {mixture: [a]}}", "sft.data.mixture[0]: must be a mapping, not 'a'"),
        ("sft: {data: 5}", "sft.data: must be a mapping, not 5"),
        ("sft: {trainer: [1]}", "sft.trainer: must be a mapping, not [1]"),
        ("sft: 5", "sft: a step is a mapping, not 5."),
        ("sft: {data: {seq_len: 64}}", "sft.data.mixture: must be set"),
        ("sft: {data: {mixture: [], seq_len: null}}", "sft.data.seq_len: "),
        ("stf: {}", "'stf' is not a stage. Did you mean: 'sft'?"),
        ("mid: {stage: pretran}", "unknown stage 'pretran'. Did you mean: 'pretrain'?"),
        ("mid: {stage: [sft]}", "unknown stage"),
        ("seeed: 3", "seeed: a step is a mapping, not 3. Did you mean: 'seed'?"),
        ("seed: x", "seed: 'x' is not a whole number"),
        ("seed: true", "seed: True is not a whole number"),
        ("run_dir: 5", "run_dir: 5 is not a folder's path"),
        ("name: a/b", "name: 'a/b' must be a plain folder name"),
        ("launch: 3", "launch: must be a mapping"),
        ("launch: {confg: a.yaml}", "launch.confg: no such key. Did you mean: 'config'?"),
        ("sft: {init: '${nothing}'}", "sft.init: Interpolation key 'nothing' not found"),
        ("name: ${seed}\nseed: ${name}", "name: Recursive interpolation"),
    ],
)
def test_one_problem_is_told_with_its_key(problems, text, expected):
    found = problems(SMALL + text + "\n")
    assert len(found) == 1
    assert expected in found[0]


def test_all_problems_are_told_at_once_with_their_true_paths(problems):
    text = """
sft:
  data:
    mixture: [{path: a, limit: 3}, {path: b, limit: many}, {pth: c}]
    seq_ln: 5
  peft: 3
evaluate:
  models: [pretrain]
  tasks:
    one: {kind: answers, source: {path: t}, limit: 3}
    two: {kind: answers, source: {path: t, limt: 3}}
"""
    keys = [line.split(": ")[0] for line in problems(SMALL + text)]
    assert keys == [
        "sft.data.mixture[1].limit",
        "sft.data.mixture[2].pth",
        "sft.data.seq_ln",
        "sft.peft",
        "evaluate.tasks.two.source.limt",
    ]


def test_a_broken_step_brings_no_second_complaint_from_who_reads_it(problems):
    text = SMALL.replace("data: [{path: a.jsonl}]", "vocab_siz: 3")
    assert [p.split(": ")[0] for p in problems(text)] == ["tokenizer.vocab_siz"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SMALL + "seed: 1\nseed: 2\n", "line 8: not valid YAML: found duplicate key seed"),
        ("pretrain:\n  trainer:\n    a: 1\n    a: 2\n", "line 4: not valid YAML: found duplicate"),
        ("a: [1,\nb: 2", "line 3: not valid YAML"),
        ("- a\n", "this file is not a mapping"),
        ("5\n", "this file is not a mapping"),
        ("", f"no steps; add one of {', '.join(find_stages())}"),
        ("name: x\n", "no steps"),
    ],
)
def test_what_is_no_recipe_is_told_in_one_line(problems, text, expected):
    found = problems(text)
    assert len(found) == 1
    assert expected in found[0]


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(RecipeError, match="not UTF-8|not valid YAML"):
        load_recipe(tmp_path / "r.yaml")


def test_a_missing_file_is_told_with_the_near_miss(tmp_path):
    (tmp_path / "demo.yaml").write_text("report: {}\n")
    with pytest.raises(RecipeError, match="no such recipe file. Did you mean: 'demo.yaml'?"):
        load_recipe(tmp_path / "demmo.yaml")
    with pytest.raises(RecipeError, match="a folder, not a recipe file"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pretrain", "'pretrain' is not of the form step.key=value"),
        ("=1", "not of the form"),
        ("pretrain..x=1", "not of the form"),
        ("--pretrain.x=1", "not of the form"),
        ("pretrain.seed=[1,", "the value is not valid YAML"),
        ("pretran.trainer.max_steps=1", "Did you mean: 'pretrain'?"),
        ("pretrain.data.mixtur=1", "Did you mean: 'mixture'?"),
        ("pretrain.data.mixture[4].limit=1", "pretrain.data.mixture"),
        ("pretrain=5", "pretrain: a step is a mapping, not 5."),
        ("name.x=1", "name"),
    ],
)
def test_a_bad_override_is_told_in_one_line(problems, override, expected):
    found = problems("name: r\n" + SMALL, override)
    assert len(found) == 1
    assert expected in found[0]


def test_no_is_text_in_a_recipe_only_in_quotes(load, problems):
    text = "curate: {{sources: [{{hub: a/b, subset: {0}}}], filters: {{languages: [{0}]}}}}"
    subset, languages = problems(text.format("no"))
    assert "YAML reads no" in subset and subset.startswith("curate.sources[0].subset: ")
    assert languages.startswith("curate.filters.languages: must be text, not true or false")
    assert load(text.format("'no'")).steps["curate"].config.filters.languages == ["no"]
