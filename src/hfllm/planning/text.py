"""Print a plan: a block a training step, one line for each of its figures, and the sum."""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.planning.compute import money
from hfllm.planning.figures import Plan, StepPlan, Where
from hfllm.planning.memory import Memory
from hfllm.runs.progress_format import duration, large, scientific
from hfllm.training.memory import GIB

LABEL = 10  # width of the first column
NOTHING_FITS = (
    "no change of one key makes it fit: take a smaller model, or an adapter (`peft:`), or a device "
    "with more memory"
)


def plan_lines(plan: Plan, price: float | None = None) -> Iterator[str]:
    """The whole plan; `price`: of a device and hour."""
    yield f"{plan.recipe.path}: planned for {where_words(plan.where)}"
    for one in plan.steps:
        yield ""
        yield from step_lines(one, price)
    yield from _sum(plan, price)


def where_words(where: Where) -> str:
    """The device, its memory and the source of its figures."""
    words = f"{where.name}, {where.memory / GIB:.1f} GiB"
    if where.device is None:
        return words
    peak = where.device.flops / 1e12
    kind = "bf16" if where.device.bf16 else "fp16 (no bf16)"
    return f"{words}, {peak:,.0f} TFLOP/s {kind} dense ({where.device.source})"


def step_lines(one: StepPlan, price: float | None) -> Iterator[str]:
    """The figures of one step."""
    yield f"{one.step.name}: {one.strategy}"
    if one.size is not None:
        yield _line("model", _model(one))
    yield _line("steps", _steps(one))
    yield _line("tokens", _tokens(one))
    if one.flops is not None:
        yield _line("FLOPs", _flops(one))
    if one.memory is not None:
        yield from _memory(one)
    yield _line("time", time_words(one, price))
    for remark in one.remarks:
        yield _line("note", remark)


def _line(label: str, words: str) -> str:
    return f"  {label:<{LABEL}}{words}"


def _model(one: StepPlan) -> str:
    size = one.size
    assert size is not None
    words = f"{large(size.parameters)} parameters"
    if size.adapter:
        words += f", of which an adapter of {large(size.trained)} is trained"
    if one.row and one.row.copies > 1:
        words += ", and a critic of as many"
    if one.row and one.row.frozen:
        words += f"; frozen models of about that size: {one.row.frozen}"
    return words


def _steps(one: StepPlan) -> str:
    work, values = one.work, one.values
    parts = [f"{values.micro} at once"]
    if values.accumulation > 1:
        parts.append(f"accumulated {values.accumulation} times")
    if one.strategy.processes > 1:
        parts.append(f"on {one.strategy.processes} devices")
    count = "unknown" if work.steps is None else f"{work.steps:,}"
    return f"{count} of {work.rows_per_step:,} rows ({', '.join(parts)})"


def _tokens(one: StepPlan) -> str:
    work = one.work
    total = "unknown" if work.tokens is None else f"{large(work.tokens)}"
    words = f"{'at most ' if work.at_most and work.tokens else ''}{total}"
    words += f", {work.row_tokens:,.0f} a row"
    if work.passes is not None:
        words += f", {work.passes:.2f} passes over the data" if work.passes != 1 else ", one pass"
    words += f"; data {_data(one)}"
    return words


def _data(one: StepPlan) -> str:
    data = one.work.data
    if data.rows is None:
        words = "unknown"
    else:
        words = f"{large(data.tokens or 0)} tokens in {large(data.rows)} examples, {data.how}"
    if data.missing:
        words += f" ({'without ' if data.rows is not None else ''}{'; '.join(data.missing)})"
    return words


def _flops(one: StepPlan) -> str:
    flops = one.flops
    assert flops is not None
    words = f"{scientific(flops.total)} a token, {flops.attention / flops.total:.0%} attention"
    if one.total_flops is not None:
        words = f"{scientific(one.total_flops)}: {words}"
    return words


def _memory(one: StepPlan) -> Iterator[str]:
    memory = one.memory
    assert memory is not None
    each = " on each device" if one.strategy.processes > 1 else ""
    verdict = "fits" if one.fits else "DOES NOT FIT"
    yield _line(
        "memory",
        f"{memory.peak / GIB:.1f} GiB of {one.limit / GIB:.1f}{each}: {verdict}; at its peak, "
        f"{memory.moment}:",
    )
    yield _line("", parts_words(memory))
    if one.measured_peak:
        yield _line("", f"measured by a probe: {one.measured_peak:.2f} GiB")
    if not one.fits:
        for remedy in one.remedies:
            yield _line("", f"it fits with {remedy}")
        if not one.remedies:
            yield _line("", NOTHING_FITS)


def parts_words(memory: Memory) -> str:
    """The parts in GiB, those of a hundredth and more."""
    shown = {name: round(value / GIB, 2) for name, value in memory.parts.items()}
    return ", ".join(f"{name} {value:.2f}" for name, value in shown.items() if value)


def time_words(one: StepPlan, price: float | None) -> str:
    """Hours and money, or those of a thousand steps, or why they are unknown."""
    count = one.strategy.processes
    if one.step_seconds is None:
        return one.speed
    words = f"{one.step_seconds:.3g} s a step ({one.speed})"
    if one.seconds is None:
        thousand = one.step_seconds * 1000
        words += f"; 1,000 steps are {duration(thousand)}"
        if price is not None:
            words += f", {money(thousand, count, price):,.2f}"
        return words
    words = f"{duration(one.seconds)}: {words}"
    hours = one.seconds / 3600 * count
    if count > 1:
        words += f"; {hours:,.1f} device hours"
    if price is not None:
        words += f"; costs {money(one.seconds, count, price):,.2f} at {price:g} a device and hour"
    if one.work.at_most and "measured" not in one.speed:
        words += "; writing answers is bound by memory, not FLOPs: --probe measures it"
    return words


def _sum(plan: Plan, price: float | None) -> Iterator[str]:
    known = [one for one in plan.steps if one.seconds is not None]
    if len(plan.steps) < 2 or not known:
        return
    seconds = sum(one.seconds or 0 for one in known)
    words = f"together: {duration(seconds)}"
    if price is not None:
        cost = sum(money(one.seconds or 0, one.strategy.processes, price) for one in known)
        words += f", {cost:,.2f}"
    if left := [one.step.name for one in plan.steps if one.seconds is None]:
        words += f", without {', '.join(left)}"
    yield ""
    yield words
