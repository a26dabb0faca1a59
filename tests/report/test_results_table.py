"""Tables of results: columns, marks, percent, folded rows, reliability plots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hfllm.evaluation.measure import ACC, ENDED, KL, RELEVANT
from hfllm.inference.relevance import ENOUGH
from hfllm.report.collect import Run, StepView
from hfllm.report.drawing.reliability_plot import SIDE
from hfllm.report.view.outcome import outcomes
from hfllm.report.view.reliability import reliabilities
from hfllm.report.view.results import tables
from hfllm.stages import find_stages

STAGES = find_stages()
METRIC = ("refused_unanswerable", 0.9)
METRICS = ("accuracy", "refused_unanswerable")


def evaluation(results: list[dict[str, Any]], differences: tuple[dict[str, Any], ...] = ()) -> Run:
    found = {"results": results, "differences": list(differences)}
    return Run(
        "r", Path("r"), [StepView("evaluate", STAGES["evaluate"], "done", results=found)], "", []
    )


def value(model: str, metric: str, value: float, half: float, task: str = "t") -> dict[str, Any]:
    return {"model": model, "task": task, "metric": metric, "value": value, "n": 100,
            "low": value - half, "high": value + half}  # fmt: skip


def marks(run: Run) -> list[str]:
    return [cell.mark for cell in tables(run)[0].rows[0].cells]


def test_only_intervals_that_do_not_touch_are_marked_and_by_direction() -> None:
    up = [value("a", "accuracy", 0.2, 0.05), value("b", "accuracy", 0.4, 0.05)]
    assert marks(evaluation(up)) == ["", "better"]
    assert marks(evaluation([value("a", "ece", 0.2, 0.05), value("b", "ece", 0.4, 0.05)])) == [
        "", "worse"
    ]  # fmt: skip
    assert marks(evaluation([value("a", "kl", 0.2, 0.05), value("b", "kl", 0.4, 0.05)])) == [
        "", "different"
    ]  # fmt: skip
    touching = [value("a", "accuracy", 0.2, 0.1), value("b", "accuracy", 0.4, 0.1)]
    assert marks(evaluation(touching)) == ["", ""]


def test_a_recorded_paired_difference_decides_over_the_intervals() -> None:
    rows = [value("a", "accuracy", 0.3, 0.1), value("b", "accuracy", 0.4, 0.1)]
    gap = {"model": "b", "baseline": "a", "task": "t", "metric": "accuracy"}
    surely = gap | {"value": 0.1, "low": 0.02, "high": 0.18}
    perhaps = gap | {"value": 0.1, "low": -0.02, "high": 0.22}
    assert marks(evaluation(rows, (surely,))) == ["", "better"]
    assert marks(evaluation(rows, (perhaps,))) == ["", ""]


def test_a_model_without_a_value_has_a_dash() -> None:
    rows = [value("a", "accuracy", 0.1, 0.02), value("c", "accuracy", 0.5, 0.02)]
    rows += [value(m, "accuracy", 0.4, 0.02, task="other") for m in ("a", "b")]
    table = tables(evaluation(rows))[0]
    assert table.models == ["a", "c", "b"]
    assert [cell.value for cell in table.rows[1].cells] == ["40.0%", "–", "40.0%"]
    assert [cell.mark for cell in table.rows[0].cells] == ["", "better", ""]


def test_what_the_run_started_from_comes_before_its_steps() -> None:
    rows = [value(m, "accuracy", 0.4, 0.02) for m in ("evaluate", "another's")]
    assert tables(evaluation(rows))[0].models == ["another's", "evaluate"]


def test_a_model_with_tests_of_its_own_has_a_table_of_its_own(run: Run) -> None:
    first, second = tables(run)
    assert first.models == ["pretrain", "sft", "ppo"] and second.models == ["reward"]
    facts = next(r for r in first.rows if (r.task, r.metric) == ("known facts", "right"))
    assert [cell.value for cell in facts.cells] == ["21.0%", "74.0%", "82.0%"]
    assert facts.cells[1].interval == "[69.0, 79.0]" and facts.n == "200"


def test_values_outside_a_share_are_not_shown_in_percent() -> None:
    row = tables(evaluation([value("a", "reward", -1.5, 0.1)]))[0].rows[0]
    assert row.cells[0].value == "-1.50" and row.cells[0].interval == "[-1.60, -1.40]"


def test_the_plain_accuracy_is_folded_only_beside_the_normalised_one() -> None:
    both = [value("a", "acc", 0.5, 0.1), value("a", "acc_norm", 0.5, 0.1)]
    alone = [value("a", "acc", 0.5, 0.1, task="pairs"), value("a", "acc", 0.5, 0.1, "pairs/x")]
    rows = tables(evaluation(both + alone))[0].rows
    folded = {(row.task, row.metric) for row in rows if row.secondary}
    assert folded == {("t", ACC.words), ("pairs/x", ACC.words)}


def test_a_marked_difference_is_never_folded_away() -> None:
    rows = [value("a", "ended", 0.5, 0.1), value("b", "ended", 0.9, 0.05)]
    assert ENDED.secondary
    assert [row.secondary for row in tables(evaluation(rows))[0].rows] == [False]
    alike = [value("a", "ended", 0.5, 0.1), value("b", "ended", 0.5, 0.1)]
    assert [row.secondary for row in tables(evaluation(alike))[0].rows] == [True]


def test_the_outcome_has_the_marked_differences_first_and_names_them(run: Run) -> None:
    first, second = outcomes(tables(run))
    assert [group.mark for group in first.groups] == ["better", "different", ""]
    assert all(row.verdict == group.mark for group in first.groups for row in group.rows)
    shown = [row for group in first.groups for row in group.rows] + first.folded
    assert sorted(row.name for row in shown) == sorted(row.name for row in first.table.rows)
    assert first.sentences[0] == (
        "ppo against sft, in 16 measures: clearly better in 4 (“All answers: right”, “Known facts: "
        "right”, “Unknown people: true score”, …), clearly worse in none."
    )
    assert second.table.models == ["reward"] and not second.sentences


def test_identical_answers_and_few_rows_are_told_beside_the_verdict() -> None:
    rows = [value(m, "ended", 0.5, 0.1) for m in ("a", "b")]
    said = [{"model": m, "task": "t", "id": "0", "output": "Yes."} for m in ("a", "b")]
    run = evaluation(rows)
    run.steps[0].samples.extend(said)
    first = "b against a, in 1 measure: none clearly better or worse."
    same = " The models gave identical answers to all 1 prompt."
    few = " With 12 rows at most, small differences cannot be told from chance."
    assert outcomes(tables(run))[0].sentences == [first + same]
    for row in rows:
        row["n"] = 12
    assert outcomes(tables(run))[0].sentences == [first + same + few]
    said[1]["output"] = "No."
    assert outcomes(tables(run))[0].sentences == [first + few]


def test_two_metrics_that_say_the_same_are_told_once_and_in_the_clearer_words() -> None:
    same = [value("a", metric, 0.5, 0.1) for metric in METRICS]
    assert [row.metric for row in tables(evaluation(same))[0].rows] == ["refused rightly"]
    both = [value(m, k, v, 0.1) for m, v in (("a", 0.5), ("b", 0.55)) for k in METRICS]
    gap = {"model": "b", "baseline": "a", "task": "t", "metric": "accuracy"}
    gap |= {"value": 0.05, "low": 0.01, "high": 0.09}
    assert marks(evaluation(both, (gap,))) == ["", "better"]  # the pair is of the one left out
    apart = [same[0], value("a", "refused_unanswerable", 0.4, 0.1)]
    assert len(tables(evaluation(apart))[0].rows) == 2


def test_chance_stands_beside_the_metric() -> None:
    row = value("a", "acc", 0.4, 0.1) | {"chance": 0.25}
    words = tables(evaluation([row]))[0].rows[0].metric
    assert words == "right choice likeliest (chance 25.0%)"


def test_a_reliability_plot_has_a_dot_for_every_bin_at_its_place() -> None:
    bins = [
        {"n": 30, "confidence": 0.0, "accuracy": 0.5, "low": 0.3, "high": 0.7},
        {"n": 70, "confidence": 1.0, "accuracy": 1.0, "low": 0.9, "high": 1.0},
    ]
    run = evaluation([])
    run.steps[0].results["reliability"] = [{"model": "sft", "task": "known_facts", "bins": bins}]
    (plot,) = reliabilities(run)
    dots = re.findall(r'<circle[^>]* cx="([0-9.]+)" cy="([0-9.]+)" r="([0-9.]+)"', plot.svg)
    (x0, y0, r0), (x1, y1, r1) = [tuple(map(float, dot)) for dot in dots]
    assert x1 - x0 == SIDE and y0 - y1 == SIDE / 2 and r1 > r0
    assert plot.task == "known facts" and plot.models == [("sft", "c1")]
    assert plot.rows[0] == ["sft", "0%", "50%", "30.0% to 70.0%", "30"]


def test_relevance_is_told_with_the_judges_nats() -> None:
    assert f"({ENOUGH:g} nats)" in RELEVANT.meaning


def test_a_metric_that_nobody_declared_has_no_meaning_and_no_direction() -> None:
    rows = [value(m, "charm_score", v, 0.01) for m, v in (("a", 0.2), ("b", 0.4))]
    (table,) = tables(evaluation(rows))
    assert table.meanings == [] and not table.rows[0].secondary
    assert [(cell.value, cell.mark) for cell in table.rows[0].cells] == [
        ("0.200", ""), ("0.400", "different")
    ]  # fmt: skip


def test_every_mark_of_a_run(run: Run) -> None:
    """Better or worse than the model to the left, as the metrics are declared."""
    short = {"better": "+", "worse": "-", "different": "*", "": "."}
    marks = {
        row.name: "".join(short[cell.mark] for cell in row.cells)
        for table in tables(run)
        for row in table.rows
    }
    assert marks == {
        "All answers: right": ".++",
        "Heldout text: bits per byte": "...",
        "Known facts: right": ".++",
        "Known facts: true score": ".+.",
        "Known facts: tokens an answer": "...",
        "Known facts: reward-model score": ".**",
        "Known facts: refused needlessly": "...",
        "Known facts: calibration error": "...",
        "Unknown people: true score": ".++",
        "Unknown people: tokens an answer": "...",
        "Unknown people: reward-model score": ".**",
        "Unknown people: refused rightly": ".++",
        "Arithmetic: right": ".+.",
        "Arithmetic: true score": ".+.",
        "Arithmetic: tokens an answer": "...",
        "Arithmetic: reward-model score": ".**",
        "Heldout pairs: right": ".",
        "Heldout pairs: right by length alone": ".",
    }


def test_means_over_the_answers_of_one_task_are_told_once() -> None:
    rows = [value(m, "accuracy", v, 0.02, task="asked") for m, v in (("a", 0.3), ("b", 0.5))]
    rows += [row | {"task": "all_answers"} for row in rows]
    rows += [value("b", "kl", 6.4, 0.5, task="all_answers"), value("b", "acc", 0.4, 0.1)]
    moved = value("b", "kl", 6.4, 0.5, task="all_answers") | {"baseline": "a"}
    (table,) = tables(evaluation(rows, (moved,)))
    assert [(row.task, row.metric) for row in table.rows] == [
        ("asked", "right"), ("asked", KL.words), ("t", ACC.words)
    ]  # fmt: skip
    assert table.summary_task == "asked"


def test_a_mean_that_only_one_task_contributes_to_stands_once() -> None:
    rows = [value("a", "accuracy", v, 0.02, task=t) for t, v in (("x", 0.3), ("y", 0.5))]
    rows.append(value("a", "refused_unanswerable", 0.9, 0.02, task="y"))
    rows += [value("a", m, v, 0.02, task="all_answers") for m, v in (("accuracy", 0.4), METRIC)]
    (table,) = tables(evaluation(rows))
    assert [row.name for row in table.rows] == [
        "All answers: right", "X: right", "Y: right", "Y: refused rightly"
    ]  # fmt: skip


def test_means_over_several_tasks_stand_first() -> None:
    rows = [value("a", "accuracy", v, 0.02, task=t) for t, v in (("x", 0.3), ("y", 0.5))]
    rows.append(value("a", "accuracy", 0.4, 0.02, task="all_answers"))
    (table,) = tables(evaluation(rows))
    assert [row.task for row in table.rows] == ["all answers", "x", "y"]
