"""The dpo step: what it keeps, writes and refuses."""

import json

import pytest

from hfllm.data.ledger import Ledger
from hfllm.recipe.checks import value_problems
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.trainers import check_trainers
from tiny import TRAINER, pair, write_jsonl

LORA = {"r": 2, "target_modules": ["q_proj"]}
TINY = {
    "data": {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}], "holdout": 0.2},
    "trainer": {**TRAINER, "max_steps": 2, "eval_strategy": "steps", "eval_steps": 1},
}
VARIANTS = [
    {"peft": LORA},
    {"peft": LORA, "trainer": {"precompute_ref_log_probs": False}},
    {"trainer": {"precompute_ref_log_probs": False, "loss_type": ["ipo", "sft"]}},
]


@pytest.fixture()
def space(trained):
    trained.recipe({"dpo": TINY})
    return trained


def test_pairs_are_counted_and_the_held_out_ones_written(space):
    pairs = [pair(i) for i in range(24)]
    long = [{"role": "assistant", "content": "A baker. " * 200}]
    write_jsonl(space.folder / "data" / "pairs.jsonl", [*pairs, pair(24) | {"rejected": long}])
    step = space.run("dpo")
    manifest = json.loads(step.manifest.read_text())
    held = [json.loads(line) for line in (step.data / "heldout.jsonl").read_text().splitlines()]
    ledger, figures = Ledger.from_json(manifest["ledger"]), manifest["metrics"]
    ledger.check()
    assert ledger.total("kept") == figures["pairs_train"] == 19
    assert ledger.reasons() == {"heldout": 5, "too_long": 1}
    assert figures["pairs_heldout"] == len(held) == 5 and figures["eval_rewards/accuracies"] == 1
    assert not step.checkpoints.exists()  # the reference's log-probabilities go with them
    rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    first = next(row for row in rows if "loss" in row)
    assert first["loss"] == pytest.approx(0.6931, abs=1e-4) and first["rewards/margins"] == 0


def test_what_leaves_no_pair_is_one_line(space):
    with pytest.raises(ValueError, match=r"no preference pair is left .* too_long, first row 0"):
        space.run("dpo", "dpo.data.seq_len=8")
    write_jsonl(space.folder / "data" / "pairs.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(RecipeError) as caught:  # before the run
        space.run("dpo")
    (line,) = caught.value.problems
    assert line.startswith("dpo.data.mixture[0]: data/pairs.jsonl:1: no column prompt+chosen")
    assert line.endswith("these rows are conversations")


def test_a_reward_model_is_no_start(space):
    space.run("reward")
    with pytest.raises(RecipeError, match=r"dpo.init: step 'reward' .* makes no language model"):
        space.step("dpo", "dpo.init=reward")
    with pytest.raises(ValueError, match="dpo.init: .*reward model"):
        space.run("dpo", "dpo.init=runs/tiny/reward/model")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("padding_free=true", "trl ignores it at present"),
        ("max_length=512", "set the step's data.seq_len"),
        ("truncation_mode=keep_end", "nothing is truncated"),
        ("sync_ref_model=true", "the reference is not in checkpoints"),
        ("model_init_kwargs={dtype: bfloat16}", "the model is loaded from `init`"),
        ("loss_type=ipoo", "loss_type=ipoo; use one of sigmoid"),
        ("label_smoothing=0.1", "label_smoothing: it has no effect without loss_type=robust"),
    ],
)
def test_keys_that_would_do_nothing_are_refused_before_the_run(space, key, words):
    with pytest.raises(RecipeError) as caught:
        check_trainers(space.load(f"dpo.trainer.{key}"), ["dpo"])
    (problem,) = caught.value.problems
    assert problem.startswith("dpo.trainer") and words in problem


def test_an_adapters_dropout_that_trl_would_switch_off_is_refused(space):
    space.recipe({"dpo": {**TINY, "peft": {**LORA, "lora_dropout": 0.1}}})
    (problem,) = value_problems(space.step("dpo").spec)
    assert problem.startswith("dpo.peft.lora_dropout: trl switches all dropout off")
    assert not value_problems(space.step("dpo", "dpo.trainer.disable_dropout=false").spec)
