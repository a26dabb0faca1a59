"""The `preference` task: a reward model on pairs, against the length rule."""

import pytest
from evaluation_rows import answer_row, by_metric

from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import preference
from hfllm.inference.reward_model import open_reward_model


def test_preference_beside_the_length_rule(folders):
    judge = open_reward_model(folders["reward"], batch_size=4)

    def pair(chosen, rejected):
        said = ({"role": "assistant", "content": text} for text in (chosen, rejected))
        return dict(
            zip(("chosen", "rejected"), ([m] for m in said), strict=True),
            prompt=answer_row(1)["prompt"],
        )

    rows = [pair("Good.", "Good cats."), pair("A baker.", "He is a baker."), pair("cats", "c")]
    scores = {
        text: judge.score(
            [([*answer_row(1)["prompt"], {"role": "assistant", "content": text}], True)]
        )[0]
        for row in rows
        for text in (row["chosen"][0]["content"], row["rejected"][0]["content"])
    }
    wins = [scores[r["chosen"][0]["content"]] > scores[r["rejected"][0]["content"]] for r in rows]
    found = by_metric(preference.score(judge, "pairs", TaskSpec("preference", rows))[0])
    assert found["pairs", "accuracy"]["value"] == pytest.approx(sum(wins) / 3)
    assert found["pairs", "length_accuracy"]["value"] == pytest.approx(2 / 3)  # "shorter wins"
    assert found["pairs", "chosen_longer"]["value"] == pytest.approx(1 / 3)
    longer = [not wins[0], not wins[1], wins[2]]
    assert found["pairs", "picks_longer"]["value"] == pytest.approx(sum(longer) / 3)
    rows = [row | {"source": "heldout", "origin": "ab"[i % 2]} for i, row in enumerate(rows)]
    subsets = by_metric(preference.score(judge, "pairs", TaskSpec("preference", rows))[0])
    assert subsets["pairs", "accuracy"] == found["pairs", "accuracy"]
    assert subsets["pairs/a", "accuracy"]["value"] == pytest.approx((wins[0] + wins[2]) / 2)
    assert subsets["pairs/b", "accuracy"]["n"] == 1
