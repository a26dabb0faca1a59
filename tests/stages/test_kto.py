"""The kto step: what it keeps, weighs, writes and refuses."""

import json

import pytest

from hfllm.data.ledger import Ledger
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.trainers import check_trainers
from tiny import TRAINER, pair, write_jsonl

LORA = {"r": 2, "target_modules": ["q_proj"]}
TINY = {
    "data": {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}], "holdout": 0.2},
    "trainer": {**TRAINER, "max_steps": 2, "eval_strategy": "steps", "eval_steps": 1},
}
VARIANTS = [
    {"peft": LORA, "trainer": {"precompute_ref_log_probs": False}},
    {"trainer": {"precompute_ref_log_probs": False, "loss_type": "apo_zero_unpaired"}},
]


@pytest.fixture()
def space(trained):
    trained.recipe({"kto": TINY})
    return trained


WHOLE = ("kto.data.holdout=0", "kto.trainer.eval_strategy='no'")


def labelled(count, bad=4):
    """Answers of which every `bad`-th is a bad one."""
    rows = []
    for i in range(count):
        side = "rejected" if i % bad == 0 else "chosen"
        answer = pair(i)[side][0]["content"]
        rows.append({"prompt": f"Who is person {i}?", "completion": answer, "label": i % bad != 0})
    return rows


def test_labelled_answers_are_counted_and_weighed(space, capsys):
    write_jsonl(space.folder / "data" / "pairs.jsonl", labelled(24))
    step = space.run("kto", *WHOLE)
    manifest = json.loads(step.manifest.read_text())
    Ledger.from_json(manifest["ledger"]).check()
    line = "18 good and 6 bad answers, weights 1 and 3, so that both count as much"
    assert line in manifest["notes"] and f"kto: {line}" in capsys.readouterr().out
    assert manifest["metrics"]["answers_train"] == 24


def test_pairs_are_taken_apart_and_what_is_held_out_can_be_read_again(space):
    step = space.run("kto")
    manifest = json.loads(step.manifest.read_text())
    assert "19 pairs are taken apart: one good and one bad answer each" in manifest["notes"]
    assert manifest["metrics"]["answers_train"] == 38 == manifest["metrics"]["answers_heldout"] + 28
    held = space.folder / "data" / "held.jsonl"
    held.write_text((step.data / "heldout.jsonl").read_text())
    assert len(held.read_text().splitlines()) == 5
    again = ("kto.data.holdout=0", "kto.data.heldout=[{path: data/held.jsonl}]")
    manifest = json.loads(space.run("kto", *again).manifest.read_text())
    assert manifest["metrics"]["answers_heldout"] == 10


def test_answers_of_one_kind_are_refused(space):
    write_jsonl(space.folder / "data" / "pairs.jsonl", [r for r in labelled(24) if r["label"]])
    with pytest.raises(ValueError, match="all 18 answers are good ones, and KTO learns from both"):
        space.run("kto", *WHOLE)


def test_a_step_of_one_row_is_refused(space):
    with pytest.raises(ValueError, match=r"a step is one row, so there is no other answer"):
        space.run("kto", "kto.trainer.per_device_train_batch_size=1")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("train_sampling_strategy=random", "so their order is set"),
        ("max_length=512", "set the step's data.seq_len"),
        ("desirable_weight=0", "desirable_weight: must be above 0"),
        ("loss_type=bco", "use one of kto, apo_zero_unpaired"),
    ],
)
def test_what_kto_cannot_use_is_refused_before_the_run(space, key, words):
    with pytest.raises(RecipeError) as caught:
        check_trainers(space.load(f"kto.trainer.{key}"), ["kto"])
    (problem,) = caught.value.problems
    assert problem.startswith("kto.trainer") and words in problem
