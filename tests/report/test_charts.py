"""Drawings: ticks, scales, thinning, smoothing; everything is inside its frame."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from hfllm.report.collect import StepView
from hfllm.report.drawing.bars import ColoredInterval, interval_plot, stacked_bar
from hfllm.report.drawing.flow import Node, flow_tall, flow_wide
from hfllm.report.drawing.line_chart import SEGMENTS, Line, is_noisy, line_chart, smoothed, thinned
from hfllm.report.drawing.svg import Scale, log_ticks, tick_label, ticks
from hfllm.report.view.training import over
from hfllm.stages import find_stages

STAGES = find_stages()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.794, 1.31), (-3.4, 4.2), (1e-6, 9.9e-5), (5, 5), (0, 0), (68, 74)]
)
def test_ticks_are_even_and_hold_the_data(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high and 2 <= len(marks) <= 8
    steps = [b - a for a, b in zip(marks, marks[1:], strict=False)]
    assert max(steps) == pytest.approx(min(steps))


@pytest.mark.parametrize(("low", "high"), [(1.7, 8.3), (0.001, 900), (2, 5.1), (1, 10)])
def test_log_ticks_hold_the_data(low: float, high: float) -> None:
    marks = log_ticks(low, high)
    assert marks[0] <= low * 1.001 and marks[-1] >= high * 0.999
    assert 2 <= len(marks) <= 8


def test_tick_labels_have_the_digits_that_tell_them_apart() -> None:
    assert [tick_label(v, 0.25) for v in (0.25, 0.5, 1)] == ["0.25", "0.50", "1.00"]
    assert [tick_label(v, 2.5e-4) for v in (0, 2.5e-4, 1e-3)] == ["0", "2.5e-4", "1e-3"]
    assert [tick_label(v, 5000) for v in (5000, 20_000, 2_500_000)] == ["5,000", "20k", "2.5M"]


def test_scale_maps_ends_to_ends() -> None:
    linear, log = Scale(0, 10, 100, 200), Scale(1, 100, 0, 10, log=True)
    assert [linear(v) for v in (0, 5, 10)] == [100, 150, 200]
    assert [log(v) for v in (1, 10, 100)] == pytest.approx([0, 5, 10])


def test_thinning_keeps_ends_and_every_spike() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[4321] = (4321.0, 99.0)
    points[8765] = (8765.0, -99.0)
    kept = thinned(points)
    assert len(kept) <= 2 * SEGMENTS + 2
    assert {points[0], points[-1], points[4321], points[8765]} <= set(kept)
    assert kept == sorted(kept)


def test_a_straight_line_is_not_noisy_and_smoothing_leaves_its_middle() -> None:
    straight = [(float(i), 2.0 * i) for i in range(100)]
    jumping = [(float(i), float(i % 2)) for i in range(100)]
    assert not is_noisy(straight) and is_noisy(jumping)
    assert smoothed(straight)[50] == (50.0, 100.0)
    assert smoothed(straight)[0] == straight[0]
    assert all(abs(value - 0.5) < 0.1 for _, value in smoothed(jumping)[20:])


@pytest.mark.parametrize(
    "points", [[(1.0, 3.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, -1.0), (9, 1e9)]]
)
def test_any_points_give_xml_inside_the_drawing(points: list[tuple[float, float]]) -> None:
    svg = line_chart([Line("a<b", points), Line("c&d", [(5.0, 2.0)])], "nats & <bits>", log=True)
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for circle in root.iter("circle"):
        assert 0 <= float(circle.get("cx", -1)) <= width
        assert 0 <= float(circle.get("cy", -1)) <= height


def test_a_chart_over_another_metric_is_ordered_by_it_in_ten_stretches() -> None:
    rows = [
        {"step": i, "kl": 40.0 - i if i < 40 else "nan", "score": 100.0 - 2 * i} for i in range(41)
    ]
    step = StepView("ppo", STAGES["ppo"], "done", metrics=[*rows, {"step": 41, "kl": 1.0}])
    points = over(step, "score", "kl")
    assert len(points) == 10 and points == sorted(points)
    assert points[0] == (2.5, 25.0) and points[-1] == (38.5, 97.0)
    assert over(step, "score", "absent") == []
    words = line_chart([Line("", [(0.1, 1.0), (0.9, 2.0)])], "score", "nats")
    assert ">0.2<" in words.replace("0.20", "0.2") and "by nats" in words


def test_two_lines_are_labelled_apart() -> None:
    lines = [Line("train", [(0.0, 1.0), (9.0, 1.0)]), Line("held-out", [(0.0, 1.0), (9.0, 1.01)])]
    root = ElementTree.fromstring(line_chart(lines, "nats"))
    heights = [float(t.get("y", 0)) for t in root.iter("text") if "end" in (t.get("class") or "")]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) >= 24


def test_bar_widths_are_the_shares_and_negative_sizes_take_none() -> None:
    parts = [("kept", "c1", 75.0), ("pii", "c2", -5.0), ("x", "c3", 25.0)]
    bar = stacked_bar("web", "note", parts, "tokens")
    widths = [float(r.get("width", 0)) for r in ElementTree.fromstring(bar.svg).iter("rect")]
    assert widths == pytest.approx([299, 99])  # of 400, less the gap of one
    assert "<rect" not in stacked_bar("none", "", [("kept", "c1", 0)], "tokens").svg


def test_interval_plot_skips_models_without_a_value() -> None:
    svg = interval_plot([ColoredInterval("c1", 0.5, 0.4, 0.6), None], (0, 1), "accuracy")
    assert len(re.findall("<circle", svg)) == 1


NODES = [
    Node("data<1>", "5", "rows", "1 s", "done", True),
    Node("base", "0.8", "bits per byte", "2 s", "done", False, ["data<1>"]),
    Node("chat", "0.4", "loss", "", "failed", False, ["base", "data<1>", "elsewhere"]),
    Node("eval", "not run", "", "", "not run", False, ["base", "chat"]),
]


@pytest.mark.parametrize("draw", [flow_wide, flow_tall])
def test_flow_has_a_box_per_step_and_a_line_per_parent(draw) -> None:  # type: ignore[no-untyped-def]
    root = ElementTree.fromstring(draw(NODES))
    assert len(list(root.iter("rect"))) == 4
    assert len(list(root.iter("polygon"))) == 5  # a parent outside the run has no box to start from
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for line in root.iter("polyline"):
        for corner in (line.get("points") or "").split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= width and 0 <= y <= height
