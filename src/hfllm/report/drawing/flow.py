"""The flow chart of a run: steps in a row, edges of data below them and of models above.

The steps are drawn in one row (one column for narrow screens) in running order. A step that feeds
others further on gets one bus with a branch per child. A layered graph layout would need crossing
minimisation and would be unreadable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hfllm.report.drawing.svg import CHAR, drawing, tag, text

LANE, REACH = 9.0, 13.0  # distance of the buses from each other, and of the first from the boxes
MARKS = {"done": "✓", "failed": "✗", "running": "…", "not run": "○"}
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Node:
    """A step in the flow chart."""

    name: str
    figure: str  # value of its key figure
    unit: str
    time: str
    status: str  # done | failed | running | not run
    data: bool  # makes data or a tokenizer, not a model
    parents: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Shape:
    """Geometry along the row and across it; `side` is -1 for models and 1 for data."""

    pitch: float
    length: float  # of a box, along
    depth: float  # of a box, across
    place: Place

    def edge(self, index: int, share: float) -> float:
        """Position along the row: share -1 is the box's start, 0 its middle, 1 its end."""
        return index * self.pitch + self.length / 2 * (1 + share)


@dataclass(frozen=True)
class _Bus:
    source: int
    targets: list[int]
    side: int
    lane: int


def flow_wide(nodes: list[Node]) -> str:
    """Steps from left to right, for wide screens."""
    buses = _buses(nodes)
    above, below = (_thickness(buses, side) for side in (-1, 1))
    length = 112.0
    shape = _Shape(132.0, length, 92.0, lambda along, across: (along + 1, across + above))
    parts = [_edges(nodes, buses, shape)]
    for i, node in enumerate(nodes):
        x, y = shape.place(i * shape.pitch, 0)
        parts.append(_box(x, y, length, shape.depth, node))
        parts.append(text(x + 10, y + 21, _fit(node.name, length - 34), "name"))
        parts.append(text(x + 10, y + 45, _fit(node.figure, length - 14), "figure"))
        parts.append(text(x + 10, y + 60, _fit(node.unit, length - 12), "unit"))
        parts.append(text(x + 10, y + 80, node.time, "tick"))
    width = (len(nodes) - 1) * shape.pitch + length + 2
    # without a limit, two steps would be scaled up to the whole width of the page
    style = f"max-width: {1.3 * width:.0f}px"
    height = above + shape.depth + below
    return drawing(width, height, _words(nodes), *parts, class_="flow wide", style=style)


def flow_tall(nodes: list[Node]) -> str:
    """Steps from top to bottom, for narrow screens."""
    buses = _buses(nodes)
    left, right = (max(_thickness(buses, side), 4) for side in (1, -1))
    width, length = 340.0, 46.0
    depth = width - left - right
    shape = _Shape(66.0, length, depth, lambda along, across: (left + depth - across, along + 1))
    parts = [_edges(nodes, buses, shape)]
    for i, node in enumerate(nodes):
        y = i * shape.pitch + 1
        parts.append(_box(left, y, depth, length, node))
        parts.append(text(left + 10, y + 19, _fit(node.name, depth - 34), "name"))
        words = f"{node.figure} {node.unit}".strip()
        parts.append(text(left + 10, y + 37, _fit(words, depth * 0.72), "unit"))
        parts.append(text(left + depth - 10, y + 37, node.time, "tick", "end"))
    height = (len(nodes) - 1) * shape.pitch + length + 2
    return drawing(width, height, _words(nodes), *parts, class_="flow tall")


def _words(nodes: list[Node]) -> str:
    """The flow chart in words, for screen readers."""
    return "Steps: " + "; ".join(
        f"{n.name} ({n.status}, {n.figure} {n.unit}"
        + (f", made from {', '.join(n.parents)})" if n.parents else ")")
        for n in nodes
    )


def _fit(words: str, width: float) -> str:
    most = int(width / CHAR)
    return words if len(words) <= most else words[: max(1, most - 1)] + "…"


def _box(x: float, y: float, width: float, height: float, node: Node) -> str:
    kind = node.status.replace(" ", "-")
    mark = MARKS.get(node.status, "?")
    return "".join(
        [
            tag("rect", x=x, y=y, width=width, height=height, rx=8, class_=f"box {kind}"),
            text(x + width - 10, y + 20, mark, f"mark {kind}", "end"),
        ]
    )


def _thickness(buses: list[_Bus], side: int) -> float:
    lanes = [bus.lane for bus in buses if bus.side == side]
    return REACH + LANE * max(lanes) + 4 if lanes else 2


def _links(nodes: list[Node]) -> list[tuple[int, int]]:
    index = {node.name: i for i, node in enumerate(nodes)}
    pairs = {(index[p], index[n.name]) for n in nodes for p in n.parents if p in index}
    return sorted((a, b) for a, b in pairs if a < b)


def _buses(nodes: list[Node]) -> list[_Bus]:
    """One bus per step with children further on; short ones are nearest to the boxes."""
    children: dict[int, list[int]] = {}
    for source, target in _links(nodes):
        if target > source + 1:
            children.setdefault(source, []).append(target)
    buses: list[_Bus] = []
    for source in sorted(children, key=lambda s: (children[s][-1] - s, s)):
        side, end = (1 if nodes[source].data else -1), children[source][-1]
        beside = [b for b in buses if b.side == side]
        taken = {b.lane for b in beside if b.source <= end and source <= b.targets[-1]}
        lane = next(k for k in range(len(nodes)) if k not in taken)
        buses.append(_Bus(source, children[source], side, lane))
    return buses


def _edges(nodes: list[Node], buses: list[_Bus], shape: _Shape) -> str:
    parts = []
    for source, target in _links(nodes):
        if target == source + 1:
            kind = "data" if nodes[source].data else "model"
            ends = [
                (shape.edge(source, 1), shape.depth / 2),
                (shape.edge(target, -1), shape.depth / 2),
            ]
            parts.append(_arrow([shape.place(*end) for end in ends], kind))
    for bus in buses:
        parts += [_branch(bus, target, buses, shape) for target in bus.targets]
    return "".join(parts)


def _branch(bus: _Bus, target: int, buses: list[_Bus], shape: _Shape) -> str:
    """The line from the source along the bus to the target; inner buses enter first."""
    rivals = sorted(b.lane for b in buses if b.side == bus.side and target in b.targets)
    slot = rivals.index(bus.lane)
    leave = shape.edge(bus.source, 0.55)
    enter = shape.edge(target, -0.65 + min(0.3, 1.0 / len(rivals)) * slot)
    rim = shape.depth if bus.side > 0 else 0.0
    lane = rim + bus.side * (REACH + LANE * bus.lane)
    corners = [(leave, rim), (leave, lane), (enter, lane), (enter, rim)]
    return _arrow([shape.place(*c) for c in corners], "data" if bus.side > 0 else "model")


def _arrow(points: list[tuple[float, float]], kind: str) -> str:
    """A line with a small head at its last point."""
    (ax, ay), (bx, by) = points[-2:]
    size = max(abs(bx - ax), abs(by - ay)) or 1.0
    ux, uy = (bx - ax) / size, (by - ay) / size
    base = (bx - 6 * ux, by - 6 * uy)
    head = [
        (bx, by),
        (base[0] - 3.5 * uy, base[1] + 3.5 * ux),
        (base[0] + 3.5 * uy, base[1] - 3.5 * ux),
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*points[:-1], base])
    tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in head)
    return tag("polyline", points=path, class_=f"edge {kind}") + tag(
        "polygon", points=tip, class_=f"head {kind}"
    )
