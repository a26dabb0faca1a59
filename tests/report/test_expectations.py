"""Figures that were predicted stand beside those that were measured, on the page and the card."""

from __future__ import annotations

from pathlib import Path

from run_fixture import COST, write_run, write_step

from hfllm.report.build import build_report
from hfllm.report.card import model_card
from hfllm.report.collect import read_run
from hfllm.report.view.costs import expectation_rows
from hfllm.stages import find_stages

STAGES = find_stages()
WALL, TOKENS, _, MEMORY = COST["sft"]
PREDICTION = {"memory_gb": 1.1 * MEMORY, "tokens": TOKENS, "seconds": 0.9 * WALL, "flops": 1e13}


def with_prediction(folder: Path, **changes: object) -> Path:
    run = write_run(folder / "small")
    write_step(run, "sft", prediction=PREDICTION, **changes)
    return run


def test_a_row_a_figure_with_how_far_off_it_was(tmp_path: Path) -> None:
    rows = expectation_rows(read_run(with_prediction(tmp_path), STAGES))
    assert [(r["step"], r["what"], r["off"]) for r in rows[:3]] == [
        ("sft", "peak memory", "+10%"), ("sft", "wall time", "-10%"), ("sft", "tokens", "+0%"),
    ]  # fmt: skip
    assert rows[2]["predicted"] == rows[2]["measured"] == f"{TOKENS:,}"


def test_page_markdown_and_card_show_them(tmp_path: Path) -> None:
    run = with_prediction(tmp_path)
    page = build_report(run, STAGES)
    assert "Expected and measured" in page.read_text(encoding="utf-8")
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    assert f"| sft | tokens | {TOKENS:,} | {TOKENS:,} | +0% |" in markdown
    assert f"| expected tokens (measured) | {TOKENS:,} ({TOKENS:,}) |" in model_card(
        run / "sft", STAGES
    )


def test_a_manifest_without_a_prediction_says_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    assert expectation_rows(read_run(run, STAGES)) == []
    assert "Expected and measured" not in build_report(run, STAGES).read_text(encoding="utf-8")
    assert "expected" not in model_card(run / "sft", STAGES)


def test_a_step_that_is_not_done_has_measured_nothing(tmp_path: Path) -> None:
    run = with_prediction(tmp_path, status="failed", error="stopped")
    assert {row["measured"] for row in expectation_rows(read_run(run, STAGES))} == {"–"}


def test_at_most_is_no_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    write_step(run, "ppo", prediction={"tokens": 10**9, "tokens_at_most": True})
    (row,) = expectation_rows(read_run(run, STAGES))
    assert (row["predicted"], row["off"]) == ("at most 1,000,000,000", "–")
