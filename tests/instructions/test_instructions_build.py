"""Prompts with constraints: training and tests are disjoint, every dropped prompt is counted."""

import pytest

from hfllm.data.ledger import Example, Ledger
from hfllm.instructions.build import constrained, usable
from hfllm.instructions.kinds import KINDS


def prompt(i, text=None, turns=1):
    said = [{"role": "user", "content": text or f"Tell me about number {i}."}] * turns
    return Example({"id": str(i), "source": "s", "prompt": said})


def test_long_repeated_and_multi_turn_prompts_are_left_out_and_counted():
    rows = [prompt(0), prompt(1, " tell me  about NUMBER 0. "), prompt(2, "word " * 50),
            prompt(3, turns=3), prompt(4)]  # fmt: skip
    ledger = Ledger()
    for row in rows:
        ledger.expect(row)
    assert [row["id"] for row in usable(rows, 40, ledger)] == ["0", "4"]
    ledger.check()
    assert ledger.reasons() == {"too_long": 1, "duplicate": 1, "several_turns": 1}


def test_tests_and_training_share_no_prompt_and_no_wording():
    rows = [prompt(i) for i in range(300)]
    train, tests = constrained(rows, 100, list(KINDS), seed=0)
    assert len(train) == 200 and len(tests) == 100
    assert {row["id"] for row in train + tests} == {row["id"] for row in rows}
    texts = [{one["text"] for row in half for one in row["constraints"]} for half in (train, tests)]
    assert not texts[0] & texts[1]
    for row in train + tests:
        content = row["prompt"][0]["content"]
        assert content.startswith(row["instruction"]) and row["check"] == "constraints"
        assert all(one["text"] in content for one in row["constraints"])
    again = constrained(rows, 100, list(KINDS), seed=0)
    assert again == (train, tests) and constrained(rows, 100, list(KINDS), seed=1) != (train, tests)


def test_what_training_sees_of_a_kind_is_none_of_what_the_tests_ask_for():
    for name, kind in KINDS.items():
        seen, asked = ({repr(value) for value in half} for half in kind.values)
        assert not seen & asked or seen == asked == {"{}"}, name  # no parameters at all
        assert not set(kind.texts[False]) & set(kind.texts[True]), name
    seen, asked = (
        {word for value in half for word in value["contained"]} for half in KINDS["contains"].values
    )
    assert seen and asked and not seen & asked


def test_kinds_can_be_chosen_and_too_few_prompts_are_told():
    train, tests = constrained([prompt(i) for i in range(9)], 3, ["json"], seed=0)
    assert {one["kind"] for row in train + tests for one in row["constraints"]} == {"json"}
    with pytest.raises(ValueError, match="3 prompts are too few for 3 tests; add sources"):
        constrained([prompt(i) for i in range(3)], 3, ["json"], seed=0)
