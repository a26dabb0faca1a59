"""`hfllm compare`: which models, which rows, what is marked, what is left out and said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_fixture import ACCURACY, MODELS, answers, result, write_lines, write_run, write_step
from typer.testing import CliRunner

from hfllm.cli import app
from hfllm.evaluation.intervals import paired_difference
from hfllm.report.compare.build import Comparison, compare, render
from hfllm.report.compare.text import comparison_lines
from hfllm.report.view.results import Table, TableRow
from hfllm.stages import find_stages

STAGES = find_stages()
Run = Callable[..., Path]


def evaluation_config(**keys: Any) -> dict[str, Any]:
    tasks = {task: {"kind": "answers", "source": {"path": f"{task}.jsonl"}} for task in ACCURACY}
    return {"config": {"tasks": tasks, "reward": "reward", "reference": None, **keys}}


@pytest.fixture
def make_run(tmp_path: Path) -> Run:
    """A run whose evaluation is made of its answers alone."""

    def write(name: str, change: Callable[[dict], None] = lambda _: None, **config: Any) -> Path:
        folder = write_run(tmp_path / name)
        write_step(folder, "evaluate", **evaluation_config(**config))
        rows = answers()
        for row in rows:
            change(row)
        results = [
            result(m, task, "accuracy", sum(right) / len(right), 0.1, len(right))
            for m in MODELS
            for task in ACCURACY
            if (right := [r["correct"] for r in rows if (r["model"], r["task"]) == (m, task)])
        ]
        (folder / "evaluate" / "results.json").write_text(json.dumps({"results": results}))
        write_lines(folder / "evaluate" / "samples.jsonl", [r for r in rows if "gone" not in r])
        return folder

    return write


def compared(*places: Path | str) -> Comparison:
    return compare([str(place) for place in places], STAGES)


def table(found: Comparison) -> Table:
    return found.outcomes[0].table


def row(found: Comparison, task: str, metric: str = "right") -> TableRow:
    return next(r for r in table(found).rows if (r.task, r.metric) == (task, metric))


def better(row: dict) -> None:
    if row["model"] == "ppo" and row["task"] == "known_facts":
        row["correct"] = True


def test_a_run_is_its_last_model_and_says_which_others_there_are(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b", better)
    found = compared(a, b)
    assert [(c.label, c.model) for c in found.columns] == [("a", "ppo"), ("b", "ppo")]
    assert f"{a}: its last model, ppo; evaluated too: pretrain, sft (name one as {a}/pretrain)" in (
        found.notes
    )


def test_an_evaluation_is_all_its_models_and_a_step_is_its_own(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b")
    assert [c.label for c in compared(a / "evaluate").columns] == list(MODELS)
    assert [c.label for c in compared(a / "sft" / "model", a / "ppo").columns] == ["sft", "ppo"]
    assert [c.label for c in compared(a / "sft", b / "ppo").columns] == ["a/sft", "b/ppo"]


def test_runs_of_one_name_are_told_apart_by_their_folders(make_run: Run, tmp_path: Path) -> None:
    a, b = make_run("here/a"), make_run("there/a")
    assert [c.label for c in compared(a, b).columns] == [f"{a}/ppo", f"{b}/ppo"]


def test_the_difference_is_that_of_the_same_rows_and_decides_the_mark(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b", better)
    found = compared(a, b)
    was = [r["correct"] for r in answers() if (r["model"], r["task"]) == ("ppo", "known_facts")]
    gap = paired_difference([True] * len(was), was)
    assert gap.low > 0
    assert [cell.mark for cell in row(found, "known facts").cells] == ["", "better"]
    assert [cell.mark for cell in row(found, "arithmetic").cells] == ["", ""]
    ends = ", ".join(f"{100 * end:.1f}" for end in (gap.low, gap.high))
    expected = f"+{100 * gap.value:.1f} points [{ends}], n 40"
    assert dict(found.gaps)["Known facts: right"] == ["–", expected]
    assert "clearly better in 1 (“Known facts: right”)" in found.outcomes[0].sentences[0]


def test_the_order_of_rows_does_not_matter(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b", better)
    file = b / "evaluate" / "samples.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    write_lines(file, lines[::-1])
    for run, digest in ((a, "1"), (b, "2")):  # other files, so that rows are known by their prompts
        results = json.loads((run / "evaluate" / "results.json").read_text())
        tests = dict.fromkeys(ACCURACY, digest)
        (run / "evaluate" / "results.json").write_text(json.dumps(results | {"tests": tests}))
    found = compared(a, b)
    assert [cell.mark for cell in row(found, "known facts").cells] == ["", "better"]
    assert [cell.mark for cell in row(found, "arithmetic").cells] == ["", ""]


def test_rows_that_one_alone_was_asked_are_no_part_of_the_difference(make_run: Run) -> None:
    def other_rows(row: dict) -> None:
        if row["task"] == "known_facts" and int(row["id"].split("-")[-1]) >= 10:
            row["prompt"] = "another question"

    a, b = make_run("a"), make_run("b", other_rows, judge=None)
    sources = {t: {"kind": "answers", "source": {"path": "other.jsonl"}} for t in ACCURACY}
    write_evaluation(b, tasks=sources)
    found = compared(a, b)
    note = next(n for n in found.notes if n.startswith("known_facts: "))
    assert note.startswith("known_facts: 10 rows are the same (40 of a, 40 of b)")
    asked = [e for s in found.selections for e in s.exchanges if e.task == "known facts"]
    assert {e.id for e in asked} <= {f"known_facts-{i}" for i in range(10)}


def write_evaluation(run: Path, **keys: Any) -> None:
    file = run / "evaluate" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["config"] |= keys
    file.write_text(json.dumps(manifest))


def test_other_tests_other_rows_and_tests_of_one_alone_are_left_out_and_said(make_run: Run) -> None:
    def change(row: dict) -> None:
        if row["task"] == "arithmetic":
            row["prompt"] += " (another)"
        if row["task"] == "unknown_people":
            row["gone"] = True

    a, b = make_run("a"), make_run("b", change)
    tasks = {t: {"kind": "answers", "source": {"path": "other.jsonl"}} for t in ACCURACY}
    tasks["known_facts"] |= {"max_new_tokens": 96}
    write_evaluation(b, tasks=tasks)
    found = compared(a, b)
    assert not found.outcomes and not found.selections
    notes = "\n".join(found.notes)
    assert "known_facts: b is left out: another max_new_tokens (96) than a" in notes
    assert "arithmetic: b is left out: other rows than a" in notes
    assert "unknown_people: b is left out: other rows" in notes
    assert "No test was asked of two of them." in "\n".join(comparison_lines(found))


def test_scores_of_another_reward_model_are_left_out_and_said(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b", reward="rewards/another")
    for run in (a, b):
        file = run / "evaluate" / "results.json"
        found = json.loads(file.read_text())
        found["results"].append(result("ppo", "known_facts", "reward", 1.0, 0.1, 40))
        file.write_text(json.dumps(found))
    notes = compared(a, b).notes
    assert "known_facts: reward left out: another reward model" in notes
    assert not any(r.metric == "reward-model score" for r in table(compared(a, b)).rows)


def test_stale_results_are_left_out_and_said(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b")
    write_step(b, "ppo", fingerprint="another")
    found = compared(a, b)
    assert not found.outcomes
    assert "b: results of evaluate left out: stale: made from another version of ppo" in found.notes


def test_likelihoods_are_paired_row_by_row(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b")
    shares = {a: 0.3, b: 0.5}
    for run, share in shares.items():
        file = run / "evaluate" / "results.json"
        found = json.loads(file.read_text())
        found["results"].append(result("ppo", "choices", "acc", share, 0.2, 20))
        found["tests"] = {"choices": "same"}
        file.write_text(json.dumps(found))
        items = [{"model": "ppo", "task": "choices", "id": str(i), "right": i < 20 * share,
                  "right_norm": False} for i in range(20)]  # fmt: skip
        write_lines(run / "evaluate" / "items.jsonl", items)
    cells = row(compared(a, b), "choices", "right choice likeliest").cells
    assert [cell.mark for cell in cells] == ["", "better"]  # the intervals overlap


def test_training_and_the_keys_that_differ_and_nothing_else(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b")
    for run, rate in ((a, 1e-4), (b, 2e-4)):
        write_step(run, "sft", config={"trainer": {"learning_rate": rate, "seed": 1}})
    write_step(b, "pretrain", config={"data": {"mixture": [{"path": "x", "weight": 2}]}})
    found = compared(a / "sft", b / "sft")
    assert {key for key, _ in found.facts.recipe} == {
        "sft.trainer.learning_rate",
        "pretrain.data.mixture[0].path",
        "pretrain.data.mixture[0].weight",
    }
    assert [chart.title for chart in found.facts.charts][-1] == "Training loss"
    assert not compared(a / "sft", b / "ppo").facts.charts  # their losses mean other things
    training = dict(found.facts.training)
    assert training["Held-out loss"] == ["0.412", "0.412"]
    assert training["Tokens"] == ["786,202"] * 2 and training["Time"] == ["3 min 8 s"] * 2


def test_the_page_is_one_file_and_escapes_what_models_said(make_run: Run, tmp_path: Path) -> None:
    a, b = make_run("a"), make_run("b", better)
    out = tmp_path / "pages" / "compare.html"
    done = CliRunner().invoke(app, ["compare", str(a), str(b), "--out", str(out)])
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert page == render(compared(a, b))
    assert (
        "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "<b>sailor" not in page
    )
    assert "▲" in page and "▲" in done.stdout and str(out) in done.stdout


def test_mistakes_are_one_line(make_run: Run, tmp_path: Path) -> None:
    a, empty = make_run("demo"), tmp_path / "empty"
    empty.mkdir()
    bare = write_run(tmp_path / "bare", without=("evaluate",))
    for words, expected in (
        ((a, tmp_path / "demp"), f"demp: no such run. Did you mean: '{a}'?"),
        ((a, empty), "empty: no run folder"),
        ((a, bare), f"bare: no evaluate step has left results; run one, or name a step to "
                    f"compare training alone: {bare}/ppo"),
        ((a,), f"compare: {a}/ppo alone cannot be compared; name two"),
        ((a, a / "ppo"), f"{a}/ppo: is named twice"),
        ((a, a / "stf"), "no step 'stf'. Did you mean: 'sft'? Steps: world, "),
        ((a, a / "world"), "world: makes no model and has no results; name a step that does"),
    ):  # fmt: skip
        done = CliRunner().invoke(app, ["compare", *map(str, words)])
        lines = done.stderr.strip().splitlines()
        assert done.exit_code == 1 and len(lines) == 1, done.output
        assert expected in lines[0]


def test_it_imports_nothing_heavy(make_run: Run) -> None:
    a, b = make_run("a"), make_run("b")
    code = (
        f"import sys; from hfllm.cli import app; sys.argv = ['hfllm', 'compare', {str(a)!r}, "
        f"{str(b)!r}]\ntry:\n    app()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_copy_of_a_run_does_not_differ(make_run: Run, tmp_path: Path) -> None:
    a = make_run("a")
    b = Path(shutil.copytree(a, tmp_path / "b"))
    found = compared(a, b)
    assert not any(cell.mark for row in table(found).rows for cell in row.cells)
    assert "The models gave identical answers to all 120 prompts" in found.outcomes[0].sentences[0]
    assert not found.facts.recipe
