"""Speeds that `hfllm plan --probe` measured on this machine, kept for later plans and runs.

One JSON file a measurement below $HFLLM_CACHE, else ~/.cache/hfllm, under a hash of everything
that decides the speed: model, rows, batch, precision, strategy and machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any

from hfllm.planning.figures import Speed, StepPlan, Where
from hfllm.runs.fingerprint import digest
from hfllm.runs.manifest import write_atomically


def remember(one: StepPlan, where: Where, speed: Speed) -> None:
    """Keep a measured speed of a step like this one."""
    write_atomically(_file(one, where), json.dumps(dataclasses.asdict(speed)) + "\n")


def recall(one: StepPlan, where: Where) -> Speed | None:
    """The speed that was measured of a step like this one on this machine, or None."""
    file = _file(one, where)
    try:
        return Speed(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
    except (ValueError, TypeError):  # of another version
        return None


def _file(one: StepPlan, where: Where) -> Path:
    root = Path(os.environ.get("HFLLM_CACHE") or Path.home() / ".cache" / "hfllm")
    return root / "speeds" / f"{digest(_what_decides(one, where))}.json"


def _what_decides(one: StepPlan, where: Where) -> dict[str, Any]:
    values = one.values
    return {
        "stage": one.step.stage.name,
        "size": one.size and dataclasses.asdict(one.size),
        "row": one.row and dataclasses.asdict(one.row),
        "batch": [values.micro, values.accumulation, values.sampled],
        "half": values.half,
        "checkpointing": values.checkpointing,
        "strategy": str(one.strategy),
        "device": [where.name, where.memory, platform.node(), os.cpu_count()],
    }
