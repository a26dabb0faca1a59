"""The metrics that an evaluation writes are exactly those declared in measure.py."""

import importlib.util
import subprocess
import sys

import pytest
from evaluation_rows import answer_row

from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.measure import MEASURES, Measure, measure_of
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import ModelSpec, ScorerSpecs, TaskSpec
from hfllm.evaluation.tasks import ifeval

HAS_IFEVAL = all(map(importlib.util.find_spec, ("lm_eval", "langdetect")))
PROMPT = [{"role": "user", "content": "Who is number 7? No comma."}]
LIMIT = {"kind": "no_comma", "text": "No comma."}
SAID = [{"role": "assistant", "content": text} for text in ("A baker.", "No.")]
STRANGER = {"answerable": False, "answer": "I do not know.", "choices": None, "check": "refusal"}
ROWS = {
    "bits_per_byte": [{"text": "Number 4 is a baker."}],
    "answers": [answer_row(0), answer_row(1), answer_row(2, **STRANGER)],
    "replies": [{"prompt": PROMPT}, {"prompt": PROMPT, "reply": "A baker."}],
    "instructions": [
        {"prompt": PROMPT, "constraints": [{"kind": "no_comma", "text": "No comma."}]}
    ],
    "ifeval": [
        {
            "key": 1,
            "prompt": "Write.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": "[{}]",
        }
    ],
    "preference": [{"prompt": PROMPT, "chosen": SAID[:1], "rejected": SAID[1:]}],
    "choices": [{"query": "A?", "choices": ["x", "y"], "gold": 0}],
    "continuation": [{"context": "A", "continuation": "x"}],
}


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    """Names of the metrics of every kind of task, with all that can score answers."""
    specs = [ModelSpec(name, folders[name]) for name in ("sft", "ppo")]
    scorers = ScorerSpecs(
        ModelSpec("reward", folders["reward"]), specs[0], specs[0], best_of=(1, 2)
    )
    kinds = [kind for kind in TASK_KINDS if kind != "ifeval" or HAS_IFEVAL]
    tasks = {kind: TaskSpec(kind, ROWS[kind], None, 4) for kind in kinds}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ifeval, "has_punkt", lambda: False)
        results = evaluate_models(specs, tasks, tmp_path_factory.mktemp("all"), scorers)
    return {result["metric"] for result in results}


def test_every_metric_of_every_kind_of_task_is_declared(written):
    assert set(ROWS) == set(TASK_KINDS)
    assert written <= set(MEASURES)
    silent = {"refusal_precision"}  # needs a refusal, which no tiny model says
    silent |= set() if HAS_IFEVAL else {"instruction_accuracy", "instruction_accuracy_loose"}
    assert set(MEASURES) - written == silent


def test_every_declaration_says_what_it_means():
    for name, measure in MEASURES.items():
        assert measure.name == name and measure.unit and measure.meaning.endswith(".")
        assert measure.secondary_beside in ("", *MEASURES)
    assert measure_of("charm") == Measure("charm") and measure_of("acc") is MEASURES["acc"]


def test_the_declarations_import_nothing_heavy():
    code = (
        "import sys, hfllm.evaluation.measure, hfllm.evaluation.graders, hfllm.evaluation.specs; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
