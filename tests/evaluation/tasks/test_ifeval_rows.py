"""IFEval's `kwargs`, as JSON text, lists and tables have them."""

import json

import pytest

from hfllm.evaluation.tasks.ifeval import arguments_of

NAMES = ["length_constraints:number_words", "punctuation:no_comma"]
WANTED = [{"num_words": 5, "relation": "less than"}, {}]


@pytest.mark.parametrize(
    "kwargs",
    [
        WANTED,
        json.dumps(WANTED),
        [{"num_words": 5.0, "relation": "less than"}, None],  # of a table with nulls
    ],
)
def test_arguments_are_read_with_their_types(kwargs):
    found = arguments_of({"instruction_id_list": NAMES, "kwargs": kwargs}, "t")
    assert found == WANTED and isinstance(found[0]["num_words"], int)


@pytest.mark.parametrize("kwargs", ["null", "{", [{}], [{}, 3], {"num_words": 5}, 7])
def test_arguments_of_another_kind_name_the_row(kwargs):
    row = {"id": "r1", "instruction_id_list": NAMES, "kwargs": kwargs}
    with pytest.raises(ValueError, match="row r1 of t: `kwargs` is a list with a mapping for each"):
        arguments_of(row, "t")
