"""`track:` reaches every training step and no other; a step's own `trainer:` wins."""

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.runs.fingerprint import step_fingerprint
from tiny import load_recipe

RECIPE = """
name: r
tokenizer: {data: [{path: x}]}
pretrain: {model: {model_type: llama}, data: {mixture: [{path: x}]}}
sft: {data: {mixture: [{path: x}]}, trainer: {report_to: none}}
"""


def write(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE + text)
    return path


def test_training_steps_log_to_it_unless_they_say_otherwise(tmp_path):
    recipe = load_recipe(write(tmp_path, "track: {report_to: trackio}"))
    assert recipe.steps["pretrain"].config.trainer == {
        "run_name": "r/pretrain",
        "report_to": "trackio",
    }
    assert recipe.steps["sft"].config.trainer["report_to"] == "none"


def test_it_makes_no_finished_step_stale(tmp_path):
    plain = load_recipe(write(tmp_path, ""))
    before = step_fingerprint(plain, "pretrain")
    tracked = load_recipe(write(tmp_path, "track: {report_to: trackio, project: p}"))
    assert step_fingerprint(tracked, "pretrain") == before


def test_an_unknown_key_is_told(tmp_path):
    with pytest.raises(RecipeError, match="track.report: no such key. Did you mean: 'report_to'"):
        load_recipe(write(tmp_path, "track: {report: trackio}"))


@pytest.mark.parametrize(
    ("track", "expected"),
    [("wandb", ["wandb"]), ("[wandb, tensorboard]", ["wandb", "tensorboard"])],
)
def test_a_word_or_a_list_of_words_names_the_trackers(tmp_path, track, expected):
    for recipe in (load_recipe(write(tmp_path, f"track: {track}")),
                   load_recipe(write(tmp_path, ""), [f"track={track}"])):  # fmt: skip
        assert recipe.steps["pretrain"].config.trainer["report_to"] == expected


@pytest.mark.parametrize("track", ["3", "[1]", "true"])
def test_any_other_type_is_told(tmp_path, track):
    with pytest.raises(RecipeError, match="track: must be a mapping, the name of a tracker, or"):
        load_recipe(write(tmp_path, f"track: {track}"))
