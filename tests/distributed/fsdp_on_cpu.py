"""`launch/STAGE.py` under FSDP2 on CPUs: torch can, accelerate runs plain DDP and hfllm refuses.

accelerate launch --config_file fsdp2.yaml fsdp_on_cpu.py STAGE RECIPE
"""

import sys
from typing import Any

from accelerate.state import AcceleratorState, DistributedType, PartialState

import hfllm.runs.processes as processes
from hfllm.launch import main

plain_init = AcceleratorState.__init__


def init(self: Any, *args: Any, **kwargs: Any) -> None:
    """What accelerate does on a GPU."""
    plain_init(self, *args, **kwargs)
    if kwargs.get("fsdp_plugin") and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = kwargs["fsdp_plugin"]


if __name__ == "__main__":
    AcceleratorState.__init__ = init
    processes.has_gpu = lambda: True
    main(sys.argv[1], sys.argv[2:])
