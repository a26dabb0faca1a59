"""How a step is spread over devices, as its recipe's `launch:` asks: DDP, FSDP, ZeRO-1 to 3."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.launch_line import config_file, options, read_config

TRUE = ("true", "1", "yes")


@dataclass(frozen=True)
class Strategy:
    """One of "one device", "DDP", "FSDP", "FSDP2", "ZeRO-1" ... "ZeRO-3", and its processes.

    offload: what lies in the memory of the CPU ("", "optimizer states", "weights and states").
    overlaps: DeepSpeed holds two communication buckets. assumed: nobody asked for it.
    """

    name: str
    processes: int = 1
    offload: str = ""
    overlaps: bool = True
    assumed: bool = False

    @property
    def is_deepspeed(self) -> bool:
        """Whether DeepSpeed trains: 16-bit weights beside float32 masters."""
        return self.name.startswith("ZeRO")

    @property
    def shards_weights(self) -> bool:
        """Whether a device holds 1/n of the weights."""
        return self.name.startswith("FSDP") or self.name == "ZeRO-3"

    @property
    def shards_gradients(self) -> bool:
        """Whether a device holds 1/n of the gradients."""
        return self.shards_weights or self.name == "ZeRO-2"

    @property
    def shards_states(self) -> bool:
        """Whether a device holds 1/n of the optimizer's states."""
        return self.shards_gradients or self.name == "ZeRO-1"

    def __str__(self) -> str:
        """ "FSDP2 on 8 devices"."""
        words = self.name if self.processes == 1 else f"{self.name} on {self.processes} devices"
        words += f", {self.offload} in the CPU's memory" if self.offload else ""
        return words + (" (assumed: the recipe has no `launch:`)" if self.assumed else "")


ONE_DEVICE = Strategy("one device")


def strategy_of(words: list[str], count: int | None = None) -> Strategy:
    """The strategy of the options of `accelerate launch`, on `count` devices if that is given.

    Raises:
        ValueError: a file that the options name cannot be read (one line).
    """
    given, file = options(words), config_file(words)
    config = read_config(file) if file else {}
    named = given.get("num_processes") or config.get("num_processes") or 1
    processes = count or (int(named) if str(named).isdigit() else 1)
    kind = str(config.get("distributed_type", "NO"))
    if kind == "DEEPSPEED" or "use_deepspeed" in given:
        return _deepspeed(given, config, processes)
    if kind == "FSDP" or "use_fsdp" in given:
        section = config.get("fsdp_config") or {}
        version = given.get("fsdp_version") or section.get("fsdp_version") or 2
        whole = str(
            section.get("fsdp_offload_params", given.get("fsdp_offload_params", ""))
        ).lower()
        offload = "weights and states" if whole in TRUE else ""
        return Strategy("FSDP2" if str(version) == "2" else "FSDP", processes, offload)
    if processes == 1:
        return ONE_DEVICE
    asked = kind.startswith("MULTI") or "multi_gpu" in given or (count is None)
    return Strategy("DDP", processes, assumed=not asked)


def _deepspeed(given: dict[str, str], config: dict[str, Any], processes: int) -> Strategy:
    section = config.get("deepspeed_config") or {}
    path = given.get("deepspeed_config_file") or section.get("deepspeed_config_file")
    zero: dict[str, Any] = {}
    if path:
        try:
            zero = json.loads(Path(str(path)).read_text(encoding="utf-8"))["zero_optimization"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f"{path}: no DeepSpeed JSON with `zero_optimization`") from None
    stage = zero.get("stage") or given.get("zero_stage") or section.get("zero_stage") or 2
    where = {
        part: (zero.get(part) or {}).get("device", section.get(f"{part}_device", "none"))
        for part in ("offload_optimizer", "offload_param")
    }
    offload = "optimizer states" if where["offload_optimizer"] not in ("none", None) else ""
    offload = "weights and states" if where["offload_param"] not in ("none", None) else offload
    return Strategy(f"ZeRO-{stage}", processes, offload, bool(zero.get("overlap_comm", True)))
