"""Which key to change where a step does not fit, each tried with the same arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hfllm.planning.memory import Setup, memory_of
from hfllm.planning.strategy import Strategy
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import ModelSize, in_gib

SHARE = 0.95  # of the memory: a plan that fits to the last byte does not
DEVICES = (2, 4, 8, 16, 32, 64, 128)


def remedies(
    name: str, size: ModelSize, row: RowShape, setup: Setup, limit: int
) -> tuple[str, ...]:
    """Changes of a step's keys with which it fits, the smallest change first; () if none does."""

    def fits(**changes: object) -> int | None:
        tried = replace(setup, **changes)  # type: ignore[arg-type]
        peak = memory_of(size, row, tried).peak
        return peak if peak <= SHARE * limit else None

    return tuple(_tried(name, setup, fits))


def _tried(name: str, setup: Setup, fits: object) -> Iterator[str]:
    assert callable(fits)
    trainer = f"{name}.trainer"
    for rows in [n for n in range(setup.rows - 1, 0, -1) if setup.rows % n == 0]:
        if peak := fits(rows=rows, accumulates=True):
            times = setup.rows // rows
            yield (
                f"{trainer}.per_device_train_batch_size={rows} and {times} times the "
                f"gradient_accumulation_steps: {in_gib(peak)}"
            )
            break
    if not setup.checkpointing and (peak := fits(checkpointing=True)):
        yield f"{trainer}.activation_checkpointing=true: {in_gib(peak)}, a third more work"
    elif not setup.checkpointing and (peak := fits(checkpointing=True, rows=1, accumulates=True)):
        yield (
            f"{trainer}.activation_checkpointing=true with per_device_train_batch_size=1: "
            f"{in_gib(peak)}"
        )
    if not setup.on_gpu:
        return
    n = setup.strategy.processes
    if not setup.strategy.shards_weights:
        for devices in [count for count in DEVICES if count >= n]:
            if peak := fits(strategy=Strategy("FSDP2", devices)):
                yield (
                    f"launch.config=configs/accelerate/fsdp2.yaml on {devices} devices: "
                    f"{in_gib(peak)} on each"
                )
                break
    else:
        for devices in [count for count in DEVICES if count > n]:
            if peak := fits(strategy=replace(setup.strategy, processes=devices)):
                yield f"{devices} devices instead of {n}: {in_gib(peak)} on each"
                break
