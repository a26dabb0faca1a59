"""The evaluate stage: what it notes about the tests that it is given."""

from types import SimpleNamespace

from hfllm.data.ledger import Ledger
from hfllm.evaluation.config import TaskConfig
from hfllm.evaluation.read_tests import read_test
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.task_problems import task_problems
from hfllm.recipe.config import SourceConfig
from hfllm.stages.evaluate import Config, older_world_notes
from tiny import write_jsonl


def step_of(stage):
    """A step of a recipe whose step `people` is of this stage."""
    maker = SimpleNamespace(name="people", stage=SimpleNamespace(name=stage))
    return SimpleNamespace(
        recipe=SimpleNamespace(steps={"people": maker}),
        command=lambda only: f"hfllm run mine.yaml --only {only}",
    )


def test_tests_of_an_older_world_are_noted_by_what_they_lack():
    old = {"prompt": "Who?", "answer": "Ada", "check": "contains"}
    new = old | {"enough_words": 8, "rivals": ["Eve"]}
    world = SourceConfig(step="people", file="tests/facts.jsonl")

    def notes(rows, source=world, kind="answers", stage="world"):
        config = Config(models=["sft"], tasks={"facts": TaskConfig(kind=kind, source=source)})
        return older_world_notes(step_of(stage), config, {"facts": TaskSpec(kind, rows)})

    assert notes([old]) == [
        "facts: no true score, no mark for an answer that also names a wrong one: the rows of step "
        "'people' are those of an older hfllm; make it again: hfllm run mine.yaml --only people"
    ]
    (note,) = notes([old | {"enough_words": 8}])
    assert note.startswith("facts: no mark for an answer that also names a wrong one: ")
    (note,) = notes([old | {"rivals": ["Eve"]}])
    assert note.startswith("facts: no true score: ")
    assert notes([new, old]) == []
    assert notes([{"answer": "7", "check": "number", "enough_words": 4}]) == []
    assert notes([old], SourceConfig(path="mine.jsonl")) == []  # nobody asked for one
    assert notes([old], stage="my_tests") == notes([old], kind="replies") == []


def test_the_check_before_a_run_reads_the_rows_as_the_run_does(workspace):
    """What a task would read is not refused before, and what it would refuse is."""
    rows = {
        "alone": ("replies", {"instruction": "Say why."}),
        "chats": ("replies", {"messages": [{"role": "user", "content": "Why?"}]}),
        "quiz": ("choices", {"query": "Q", "choices": ["a", "b"], "gold": 3}),
        "skipped": ("choices", {"query": "Q", "choices": ["a", "b"], "gold": 3}),
    }
    tasks = {}
    for name, (kind, row) in rows.items():
        path = write_jsonl(workspace.folder / f"{name}.jsonl", [row])
        tasks[name] = {"kind": kind, "source": {"path": str(path)}}
    tasks["skipped"]["source"]["on_error"] = "skip"
    workspace.recipe({"evaluate": {"models": ["sft"], "tasks": tasks}})
    step = workspace.step("evaluate")
    (problem,) = task_problems(step)
    assert problem.startswith("tasks.quiz.source: ")
    assert problem.endswith("quiz.jsonl:1: gold 3 is none of 2 choices")
    for name in ("alone", "chats"):
        task = step.spec.config.tasks[name]
        assert len(read_test(task.source, task.kind, step.data_of, Ledger())) == 1
