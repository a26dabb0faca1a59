"""Best-of-n: the weights equal a count over all subsets of n; results per n."""

import itertools
import math

import pytest
from evaluation_rows import answer_row

from hfllm.evaluation.best_of import graded_alone, rank_weights, scores_by_n
from hfllm.evaluation.graders import is_correct
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import ModelSpec, ScorerSpecs, TaskSpec


@pytest.mark.parametrize(("many", "n"), [(1, 1), (4, 2), (6, 3), (5, 5)])
def test_the_weights_are_those_of_every_choice_of_n(many, n):
    choices = list(itertools.combinations(range(many), n))
    counted = [sum(max(c) == rank for c in choices) / len(choices) for rank in range(many)]
    assert rank_weights(many, n) == pytest.approx(counted)


def test_sampled_answers_are_graded_as_the_row_says():
    for row in (answer_row(0), {"answer": "a", "check": "contains", "choices": ["a", "b"]}):
        said = f"{row['answer']} {row['choices'][1]}"
        assert not is_correct(row, said) and not is_correct(graded_alone(row), said)
        assert is_correct(graded_alone(row), row["answer"])
        assert not graded_alone(row)["choices"]
    assert graded_alone({"prompt": "Why?"}) == {"prompt": "Why?"}


def test_favourites_stand_beside_the_model_and_have_higher_rewards(folders, tmp_path):
    specs = [ModelSpec(name, folders[name], name != "pretrain") for name in ("sft", "ppo")]
    tasks = {"facts": TaskSpec("answers", [answer_row(i) for i in range(5)], 4, 8)}
    scorers = ScorerSpecs(ModelSpec("reward", folders["reward"]), specs[0], best_of=(1, 2, 6))
    results = evaluate_models(specs, tasks, tmp_path, scorers, batch_size=4)
    assert {r["model"] for r in results if "/best_of_" in r["task"]} == {"sft"}
    found = {(r["model"], r["task"], r["metric"]): r for r in results}
    rewards = [found["sft", f"facts/best_of_{n}", "reward"]["value"] for n in (1, 2, 6)]
    assert rewards[0] < rewards[1] < rewards[2]
    for metric in ("accuracy", "ended", "answer_tokens", "true_score"):
        assert found["sft", "facts/best_of_2", metric]["n"] == 4
    kl = found["sft", "facts/best_of_6", "kl_at_most"]
    assert kl["value"] == pytest.approx(math.log(6) - 5 / 6) and kl["n"] == 4


def test_scores_by_n_are_means_over_every_choice_of_n():
    groups = [[0.0, 3.0, 1.0, 2.0, 5.0], [4.0, 4.0, 4.0, 4.0, 9.0]]
    found = scores_by_n(groups)
    assert list(found) == [1, 2, 4, 5]
    for n, interval in found.items():
        best = [[max(c) for c in itertools.combinations(group, n)] for group in groups]
        assert interval.value == pytest.approx(sum(sum(b) / len(b) for b in best) / 2)
        assert interval.low <= interval.value <= interval.high
