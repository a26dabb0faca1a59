"""The evaluate stage: what it notes about the tests that it is given."""

from hfllm.evaluation.config import TaskConfig
from hfllm.evaluation.specs import TaskSpec
from hfllm.recipe.config import SourceConfig
from hfllm.stages.evaluate import Config, true_score_notes


def test_rows_of_a_step_that_ask_for_no_true_score_are_noted():
    row = {"prompt": "Who?", "answer": "Ada", "check": "contains"}

    def notes(rows, source, kind="answers"):
        config = Config(models=["sft"], tasks={"facts": TaskConfig(kind=kind, source=source)})
        return true_score_notes(config, {"facts": TaskSpec(kind, rows)})

    world = SourceConfig(step="world", file="tests/facts.jsonl")
    (note,) = notes([row], world)
    assert note.startswith("facts: no true score: no row of step 'world' has `enough_words`")
    assert notes([row | {"enough_words": 8}, row], world) == []
    assert notes([row], SourceConfig(path="mine.jsonl")) == []  # nobody asked for one
    assert notes([row], world, "replies") == []
