"""Run by test_isolation_under_zero3.py on two processes: try sharded models, write the findings."""

import json
import os
import sys

import deepspeed
import torch
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from hfllm.modeling.isolation import prepare_for_packing
from tiny_types import tiny_config

deepspeed.init_distributed("gloo")
sharding = HfDeepSpeedConfig(
    {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}
)
found = {}
for name in sys.argv[2:]:
    model = AutoModelForCausalLM.from_config(tiny_config(name), dtype=torch.float32)
    assert not any(p.numel() for p in model.parameters())
    before = [p.ds_status for p in model.parameters()]
    found[name] = prepare_for_packing([model], 64)
    assert [p.ds_status for p in model.parameters()] == before
with open(f"{sys.argv[1]}.{torch.distributed.get_rank()}", "w") as file:
    json.dump(found, file)
torch.distributed.barrier()
sys.stderr.flush()
os._exit(0)  # gloo's threads sometimes abort a process that ends in the ordinary way
