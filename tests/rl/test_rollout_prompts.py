"""Prompts on their way to reward functions: nothing is changed, whatever a column holds."""

import copy
import datetime
import json

from hfllm.rl.rollout_prompts import prompt_dataset

VALUES = [4, 7.5, "7", None, True, [1, "a", None], {"a": 1}, {"b": {"c": []}}, 2**70, [], "", 0.1]


def rows():
    prompts = [[{"role": "user", "content": f"who is number {i}?"}] for i in range(len(VALUES))]
    day = datetime.datetime(2026, 1, 1)
    both = zip(prompts, VALUES, strict=True)
    return [{"prompt": p, "value": v, "day": day, "n": i} for i, (p, v) in enumerate(both)]


def same(found, expected):
    """Equal with the same types at any depth: 4 == 4.0 is not enough."""
    return repr(found) == repr(expected)


def test_every_value_keeps_its_type_however_the_rows_are_read():
    data, expected = prompt_dataset(rows()), rows()
    assert len(data) == len(VALUES)
    assert same([data[i] for i in range(len(data))], expected)
    assert same(list(data), expected)
    assert same(data.__getitems__([3, 1]), [expected[3], expected[1]])
    assert same(copy.deepcopy(data).select([5])[0], expected[5])


def test_reward_functions_get_what_was_read(build):
    seen = {}

    def looks(completions, n, value, prompts, **_):
        seen.update(zip(n, zip(prompts, value, strict=True), strict=True))
        return [1.0] * len(completions)

    build(reward_funcs=looks, train_dataset=prompt_dataset(rows()), max_steps=4).train()
    assert len(seen) == 8
    for n, (prompt, value) in seen.items():
        assert same((prompt, value), (rows()[n]["prompt"], VALUES[n]))


def test_from_a_file_through_the_stage(trained, monkeypatch, tmp_path):
    """And from there to a function of the user's own."""
    columns = [{"target": 4}, {"target": 7.5}, {"target": ["a", 1]}, {"target": {"x": None}}, {}]
    lines = [
        {"id": f"q{i}", "prompt": [{"role": "user", "content": f"Who is {i}?"}], **columns[i % 5]}
        for i in range(10)
    ]
    (tmp_path / "data" / "prompts.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (tmp_path / "typed_rewards.py").write_text(
        "seen = {}\n"
        "def looks(completions, id, target, **_):\n"
        "    seen.update(zip(id, map(repr, target)))\n"
        "    return [1.0] * len(completions)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = {"reward": None, "reward_functions": ["typed_rewards:looks"]}
    trained.recipe({"ppo": changes})
    trained.run("ppo")
    from typed_rewards import seen

    assert seen == {x["id"]: repr(x.get("target")) for x in lines if x["id"] in seen} and seen
