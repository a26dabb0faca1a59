"""The fields read from the source are those of the imported class."""

import dataclasses

import pytest

from hfllm.planning.trainer_fields import UNREADABLE, trainer_fields
from hfllm.recipe.trainers import trainer_class
from hfllm.stages import find_stages

TRAINING = [name for name in find_stages() if find_stages()[name].trains]


@pytest.mark.parametrize("name", TRAINING)
def test_names_and_defaults_are_those_of_the_class(name):
    stage = find_stages()[name]
    found = trainer_fields(stage.trainer)
    fields = {f.name: f for f in dataclasses.fields(trainer_class(stage))}
    assert set(found) == set(fields)
    for key, value in found.items():
        if value is not UNREADABLE and fields[key].default is not dataclasses.MISSING:
            assert value == fields[key].default, key


def test_a_class_that_is_not_found_is_left_to_the_import():
    assert trainer_fields("nowhere:Config") is None
    assert trainer_fields("transformers:NoSuchArguments") is None
