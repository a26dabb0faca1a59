"""Best of n: expectations over all choices of n, and a column of its own beside the model."""

import itertools
import math

import pytest
from evaluation_rows import answer_row

from hfllm.evaluation.best_of import favourite_weights
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import JudgeSpecs, ModelSpec, TaskSpec


@pytest.mark.parametrize(("many", "n"), [(1, 1), (4, 2), (6, 3), (5, 5)])
def test_the_weights_are_those_of_every_choice_of_n(many, n):
    choices = list(itertools.combinations(range(many), n))
    counted = [sum(max(c) == rank for c in choices) / len(choices) for rank in range(many)]
    assert favourite_weights(many, n) == pytest.approx(counted)


def test_favourites_stand_beside_the_model_and_have_higher_rewards(folders, tmp_path):
    specs = [ModelSpec(name, folders[name], name != "pretrain") for name in ("sft", "ppo")]
    tasks = {"facts": TaskSpec("answers", [answer_row(i) for i in range(5)], 4, 8)}
    judges = JudgeSpecs(ModelSpec("reward", folders["reward"]), specs[0], best_of=(2, 6))
    results = evaluate_models(specs, tasks, tmp_path, judges, batch_size=4)
    assert list(dict.fromkeys(r["model"] for r in results)) == [
        "sft", "sft, best of 2", "sft, best of 6", "ppo",
    ]  # fmt: skip
    found = {(r["model"], r["task"], r["metric"]): r for r in results}
    rewards = [found[f"sft, best of {n}", "facts", "reward"]["value"] for n in (2, 6)]
    assert rewards[0] < rewards[1]
    for metric in ("accuracy", "ended", "answer_tokens", "true_score"):
        assert found["sft, best of 2", "facts", metric]["n"] == 4
    kl = found["sft, best of 6", "all_answers", "kl"]
    assert kl["value"] == pytest.approx(math.log(6) - 5 / 6) and kl["n"] == 4
