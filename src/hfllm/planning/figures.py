"""The figures of a plan: where, how fast, and of each training step what it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hfllm.planning import compute
from hfllm.planning.devices import Device
from hfllm.planning.memory import Memory
from hfllm.planning.strategy import Strategy
from hfllm.planning.values import TrainerValues
from hfllm.planning.work import Work
from hfllm.recipe.recipe import Recipe
from hfllm.recipe.stage import RowShape
from hfllm.runs.layout import Step
from hfllm.training.memory import ModelSize

ASSUMED_MFU = 0.4


@dataclass(frozen=True)
class Where:
    """The devices that a plan is for.

    device: a card of the table, or None: this machine's CPU, or a GPU that the table lacks. memory:
    bytes of one device, or of this machine. count: devices, if they were asked for.
    """

    name: str
    memory: int
    bf16: bool
    on_gpu: bool
    device: Device | None = None
    count: int | None = None


@dataclass(frozen=True)
class Speed:
    """How fast: a share of the device's peak, or seconds a step that were measured.

    startup_s: seconds of a step's process besides its optimizer steps and evaluations. eval_s: of
    one evaluation. peak: GiB that were measured.
    """

    mfu: float = ASSUMED_MFU
    is_assumed: bool = True
    step_s: float | None = None
    startup_s: float = 0.0
    eval_s: float = 0.0
    peak: float | None = None


@dataclass(frozen=True)
class StepPlan:
    """The figures of one training step; None where they are unknown, `remarks` say why."""

    step: Step
    strategy: Strategy
    values: TrainerValues
    work: Work
    size: ModelSize | None
    row: RowShape | None
    flops: compute.Flops | None
    memory: Memory | None
    limit: int
    seconds: float | None
    step_seconds: float | None
    speed: str
    measured_peak: float | None = None
    remedies: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def total_flops(self) -> float | None:
        """FLOPs of the whole training."""
        tokens = self.work.tokens
        return None if self.flops is None or tokens is None else self.flops.total * tokens

    @property
    def fits(self) -> bool:
        """Whether the peak is within the device's memory, as far as it is known."""
        return self.memory is None or self.memory.peak <= self.limit

    def to_json(self) -> dict[str, Any]:
        """What a manifest keeps of it, to be shown beside what was measured."""
        found: dict[str, Any] = {"strategy": str(self.strategy), "steps": self.work.steps}
        found |= {"tokens": self.work.tokens and round(self.work.tokens)}
        found |= {"tokens_at_most": self.work.at_most, "flops": self.total_flops}
        found |= {"seconds": self.seconds and round(self.seconds, 1), "speed": self.speed}
        if self.memory:
            found["memory_gb"] = round(self.memory.allocated / 2**30, 3)
            found["memory_parts"] = self.memory.parts
        return {key: value for key, value in found.items() if value is not None}


@dataclass
class Plan:
    """The plans of a recipe's training steps on the same devices."""

    recipe: Recipe
    where: Where
    steps: list[StepPlan] = field(default_factory=list)
