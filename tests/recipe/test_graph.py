"""Dependencies between steps: running order, cycles, references to models."""

from pathlib import Path

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.recipe.graph import ancestors, is_outside_model
from tiny import load_recipe

DATA = "data: {mixture: [{path: a.jsonl}]}"


@pytest.fixture()
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text):
        Path("r.yaml").write_text(text)
        return load_recipe("r.yaml")

    return load


def error(load, text):
    with pytest.raises(RecipeError) as caught:
        load(text)
    return caught.value.problems


def test_steps_run_after_what_they_read_and_in_file_order_otherwise(load):
    recipe = load(f"""
report: {{}}
sft: {{init: midtrain, {DATA}}}
midtrain: {{stage: pretrain, init: pretrain, {DATA}}}
pretrain: {{data: {{mixture: [{{step: curate}}]}}}}
tokenizer: {{}}
curate: {{sources: [{{path: a.jsonl}}]}}
""")
    assert list(recipe.steps) == ["curate", "tokenizer", "pretrain", "midtrain", "sft", "report"]
    assert recipe.steps["pretrain"].parents == ["tokenizer", "curate"]
    assert recipe.steps["midtrain"].parents == ["pretrain"]  # brings its tokenizer
    assert ancestors(recipe.steps, "midtrain") == ["curate", "tokenizer", "pretrain"]
    assert set(recipe.steps["report"].parents) == set(recipe.steps) - {"report"}


def test_the_shipped_demo_reads_what_it_should():
    recipe = load_recipe(Path(__file__).parents[2] / "configs" / "demo.yaml")
    assert recipe.steps["ppo"].parents[:2] == ["sft", "reward"]
    assert recipe.step_of_stage("sft") == "sft"
    assert list(recipe.steps)[0] == "world"
    assert list(recipe.steps)[-1] == "report"


def test_a_stage_is_found_by_another_step_name(load):
    text = f"tokenizer: {{}}\ncurate: {{sources: [{{path: a}}]}}\nbase: {{stage: pretrain, {DATA}}}"
    recipe = load(text)
    assert recipe.step_of_stage("pretrain") == "base"
    assert recipe.step_of_stage("sft") is None


def test_a_cycle_is_named(load):
    found = error(
        load,
        f"""
a: {{stage: pretrain, init: b, {DATA}}}
b: {{stage: pretrain, init: c, {DATA}}}
c: {{stage: sft, init: a, {DATA}}}
""",
    )
    assert found == ["a: steps depend on each other: a -> b -> c -> a"]


def test_a_step_cannot_read_itself(load):
    assert "a step cannot read itself" in error(load, f"a: {{stage: sft, init: a, {DATA}}}")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sft: {init: curate, %s}", "sft.init: step 'curate' (curate) makes no language model"),
        ("sft: {init: pretrian, %s}", "sft.init: 'pretrian' is no step, model folder, .gguf file"),
        ("sft: {init: ../gone/model, %s}", "sft.init: '../gone/model' is no step, model folder"),
        ("sft: {tokenizer: curate, %s}", "sft.tokenizer: step 'curate' (curate) makes no"),
        ("sft: {data: {mixture: [{step: crate}]}}", "'crate' is no step. Did you mean: 'curate'?"),
        ("sft: {data: {mixture: [{step: curate, path: x}]}}", "(found step and path)"),
        ("sft: {data: {mixture: [{limit: 3}]}}", "set one of step, path, hub (found none)"),
        ("rm: {stage: reward, init: pretrain, %s}\nsft: {init: rm, %s}", "'rm' (reward) makes no"),
        ("ppo: {init: pretrain, reward: pretrain, %s}", "ppo.reward: step 'pretrain' (pret"),
        (
            "rm: {stage: reward, init: pretrain, %s}\n"
            "evaluate: {models: [pretrain, rm], tasks: {}}",
            "evaluate.models[1]: step 'rm' (reward) makes no language model",
        ),
    ],
)  # fmt: skip
def test_a_reference_to_the_wrong_thing_is_told(load, text, expected):
    base = f"curate: {{sources: [{{path: a}}]}}\ntokenizer: {{}}\npretrain: {{{DATA}}}\n"
    found = error(load, base + text.replace("%s", DATA) + "\n")
    assert len(found) == 1
    assert expected in found[0]


def test_models_from_outside_need_no_step(load, tmp_path):
    (tmp_path / "my_model").mkdir()
    recipe = load(f"sft: {{init: my_model, {DATA}}}\nppo: {{init: sft, reward: org/rm, {DATA}}}\n")
    assert recipe.steps["sft"].parents == []
    assert recipe.steps["ppo"].parents == ["sft"]


def test_what_counts_as_an_outside_model(tmp_path):
    assert is_outside_model("HuggingFaceTB/SmolLM2-135M")
    assert is_outside_model(str(tmp_path))
    assert not is_outside_model("pretrain")
    assert not is_outside_model("./gone")
    assert not is_outside_model("a/b/c")


def test_a_model_from_scratch_needs_a_tokenizer(load):
    found = error(load, f"bpe: {{stage: tokenizer, data: [{{path: a}}]}}\npretrain: {{{DATA}}}\n")
    assert found == [
        "pretrain.tokenizer: must be set where no step is called 'tokenizer': one of bpe, or add "
        "the step `tokenizer: {}`"
    ]


FUNCTIONS = "reward_functions: [hfllm.rl.rewards:length_reward]"


@pytest.mark.parametrize(
    ("section", "reward"),
    [
        (f"ppo: {{init: org/m, {FUNCTIONS}, {DATA}}}", None),
        (f"ppo: {{init: org/m, reward: null, {FUNCTIONS}, {DATA}}}", None),
        (f"ppo: {{init: org/m, reward: org/rm, {FUNCTIONS}, {DATA}}}", "org/rm"),
        (f"reward: {{init: org/m, {DATA}}}\nppo: {{init: org/m, {FUNCTIONS}, {DATA}}}", "reward"),
    ],
)
def test_reward_functions_stand_for_a_reward_step_that_is_not_there(load, section, reward):
    assert load(section).steps["ppo"].config.reward == reward


def test_without_either_the_reward_model_is_missed(load):
    with pytest.raises(RecipeError, match="ppo.reward: 'reward' is no step"):
        load(f"ppo: {{init: org/m, {DATA}}}")
    with pytest.raises(RecipeError, match="ppo.reward: 'reward' is no step"):
        load(f"ppo: {{init: org/m, reward: reward, {FUNCTIONS}, {DATA}}}")
