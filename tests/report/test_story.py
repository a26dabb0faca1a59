"""The report's sentences, key figures, ledgers and training charts against the manifests."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from run_fixture import LEDGERS, STEPS, write_lines, write_run, write_step

from hfllm.report.collect import Run, StepView, read_run
from hfllm.report.number_format import compact, duration, exact, percent, scientific, short
from hfllm.report.view.costs import reproduction, time_spent, total_of
from hfllm.report.view.curation import curation_audits
from hfllm.report.view.ledger_view import ledger_views
from hfllm.report.view.overview import progress
from hfllm.report.view.story import key_figure, story
from hfllm.report.view.training import series, trainings
from hfllm.stages import find_stages

STAGES = find_stages()


def test_sentences_say_what_the_manifests_say(run: Run) -> None:
    made = " ".join(story(run))
    assert "Of 7,032 raw documents, curation kept 5,030 (71.5%)" in made
    trained = "a model of 3.74M parameters was trained on 2.87M tokens"
    assert f"{trained} and reached 0.812 bits per byte on held-out text" in made
    words = progress(run, total_of(run))
    assert words.startswith("Started 2026-11-25 10:00, 8 of 8 steps done in 24 min 20 s on Intel")


def test_reasons_that_share_the_first_place_are_all_named(tmp_path: Path) -> None:
    rows = [("in", 9), ("dropped:too_long", 2), ("dropped:language", 2), ("kept", 5)]
    ledger = [
        {"source": "web", "bucket": bucket, "documents": n, "tokens": 0, "bytes": n}
        for bucket, n in rows
    ]
    run = write_run(tmp_path / "small", without=("tokenizer",))
    write_step(run, "curate", ledger=ledger)
    (words, *_) = story(read_run(run, STAGES))
    assert words.endswith("to drop one were “too long” and “language” (2 each).")


def test_how_to_reproduce_has_the_overrides_of_the_command(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    assert reproduction(read_run(run, STAGES)).commands == ["hfllm run configs/small.yaml"]
    for step in STEPS:
        write_step(run, step, overrides=["name=two words", "sft.trainer.max_steps=5"])
    assert reproduction(read_run(run, STAGES)).commands == [
        "hfllm run configs/small.yaml 'name=two words' sft.trainer.max_steps=5"
    ]


def test_a_mean_over_the_run_is_never_called_the_loss(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    write_step(run, "sft", metrics={"train_loss": 0.9})
    write_lines(run / "sft" / "metrics.jsonl", [{"step": s, "loss": 1 / s} for s in (1, 2, 4)])
    step = next(s for s in read_run(run, STAGES).steps if s.name == "sft")
    assert key_figure(step) == ("0.250", "training loss")


def test_key_figures_by_stage(run: Run) -> None:
    figures = {step.name: key_figure(step) for step in run.steps}
    assert figures["world"] == ("12.9k", "rows")
    assert figures["curate"] == ("5,030", "documents kept")
    assert figures["tokenizer"] == ("2,048", "vocabulary")
    assert figures["reward"] == ("87.2%", "of pairs right")


def test_ledgers_are_checked_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    assert [ledger.conserved for ledger in ledger_views(read_run(run, STAGES))] == [
        True,
        True,
        True,
    ]
    lost = copy.deepcopy(LEDGERS["sft"])
    lost[-1]["tokens"] -= 5
    write_step(run, "sft", ledger=lost)
    ledger = ledger_views(read_run(run, STAGES))[-1]
    assert not ledger.conserved
    assert "402,113 tokens in, but kept + dropped + changed = 402,108" in ledger.verdict


def test_curation_shows_the_truth(run: Run) -> None:
    audit = curation_audits(run)[0]
    assert audit.by_filter[0] == {
        "reason": "near duplicate", "documents": "702", "share": "98.1%", "others": "near copy 689"
    }  # fmt: skip
    assert "95.3% of what deserved it was dropped" in audit.sentences[0]


def test_a_resumed_run_counts_the_later_line_and_nan_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    (run / "sft" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 9.0}\n{"step": 2, "loss": 2.0}\n'
        '{"step": 3, "loss": "nan"}\n{"step": 4, "loss": NaN}\n'
    )
    step = next(s for s in read_run(run, STAGES).steps if s.name == "sft")
    assert series(step, "loss") == ([(1.0, 3.0), (2.0, 2.0)], [3, 4])
    figure = next(t for t in trainings(read_run(run, STAGES)) if t.step == "sft").figures[0]
    assert figure.remark == "2 value(s) not finite, first at step 3, 4."


def test_every_logged_number_is_charted_or_in_the_table(run: Run) -> None:
    ppo = next(t for t in trainings(run) if t.step == "ppo")
    titles = [figure.title for figure in ppo.figures]
    assert titles == ["Score of the answers", "Distance from the starting model"]
    assert [figure.title for figure in ppo.more][:2] == [
        "Length of the answers", "Ended by themselves",
    ]  # fmt: skip
    more = {figure.title for figure in ppo.more}
    assert {"odd<metric>", "loss", "Learning rate"} <= more and not more & set(titles)
    logged = {k for s in run.steps if s.name == "ppo" for row in s.metrics for k in row}
    assert {row["key"] for row in ppo.table} == logged - {"step", "time_s"}


def test_a_curve_of_two_points_is_folded_away(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    write_lines(run / "sft" / "metrics.jsonl", [{"step": s, "loss": 1 / s} for s in (1, 2)])
    sft = next(t for t in trainings(read_run(run, STAGES)) if t.step == "sft")
    assert not sft.figures and [figure.title for figure in sft.more] == ["Loss"]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (compact(999_950), "1.00M"), (compact(99_950), "100k"), (compact(9_999), "9,999"),
        (compact(12_345_678), "12.3M"), (compact(None), "–"), (compact(0.5), "0.500"),
        (short(0.000012), "1.2\u202f×\u202f10⁻⁵"), (short(-3.27), "-3.27"), (short(0), "0"),
        (exact(1_234_567.0), "1,234,567"), (exact(float("nan")), "–"), (exact(True), "–"),
        (percent(0.83125), "83.1%"), (scientific(6.4379e13), "6.44\u202f×\u202f10¹³"),
        (duration(59.97), "1 min 0 s"), (duration(3599.9), "1 h 0 min"), (duration(41.2), "41 s"),
        (duration(93_784), "1 d 2 h"), (duration("x"), "–"),
    ],
)  # fmt: skip
def test_figures(shown: str, wanted: str) -> None:
    assert shown == wanted


def test_where_the_time_of_a_step_went_is_summed_over_its_logs() -> None:
    logs = [{"time/generate_s": 30.0, "time/score_s": 40.0}, {"loss": 1.0, "time/generate_s": 30.0}]
    steps = [
        StepView("ppo", STAGES["ppo"], "done", metrics=logs),
        StepView("sft", STAGES["sft"], "done"),
    ]
    assert time_spent(Run("r", Path("r"), steps, "", [])) == [
        "ppo: writing answers 1 min 0 s (60%), scoring them 40 s (40%)"
    ]
