"""lm-eval itself, on the same rows through local task files, picks the same answers."""

import importlib.util
import json
from pathlib import Path

import pytest

from hfllm.evaluation.folder import kind_of, read_file
from hfllm.evaluation.specs import TaskSpec

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "against_lm_eval.py"
ROWS = 10


@pytest.fixture(scope="module")
def beside():
    pytest.importorskip("lm_eval")
    spec = importlib.util.spec_from_file_location("against_lm_eval", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["hellaswag", "arc_easy", "winogrande", "lambada_openai"])
def test_lm_eval_finds_the_same_from_its_own_task_files(subject, data, tmp_path, beside, name):
    path = data / "eval" / "core" / f"{name}.jsonl.gz"
    rows = read_file(path)[:ROWS]
    task = TaskSpec(kind_of(rows[0]), rows)
    beside.local_task(tmp_path, name, rows, task.kind)
    harness = beside.HFLM(
        pretrained=subject.model, tokenizer=subject.tokenizer, device="cpu", batch_size=8
    )
    _, figures, sums = beside.ours(subject, name, task)
    _, theirs, their_sums = beside.theirs(harness, tmp_path, name)
    assert len(sums) == len(their_sums) == ROWS
    for one, other in zip(sums, their_sums, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
        assert one.index(max(one)) == other.index(max(other))
    both = set(figures) & set(theirs)
    assert {"acc", "acc_norm"} & both, json.dumps(theirs, default=str)
    if name == "winogrande":  # of whose equal continuations it also norms the contexts
        both -= {"acc_norm"}
    for metric in both & {"acc", "acc_norm"}:
        assert figures[metric]["value"] == pytest.approx(theirs[metric])
