"""The strategy is what the launch asks for, and what it shards."""

import json
from pathlib import Path

import pytest
import yaml

from hfllm.planning.strategy import Strategy, strategy_of

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture()
def at_root(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)  # a config names its DeepSpeed JSON from there


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ddp", ("DDP", 2)), ("fsdp2", ("FSDP2", 8)), ("zero1", ("ZeRO-1", 2)),
        ("zero2", ("ZeRO-2", 2)), ("zero3", ("ZeRO-3", 2)), ("cpu", ("one device", 1)),
    ],
)  # fmt: skip
def test_it_is_that_of_the_shipped_configs(at_root, name, expected):
    found = strategy_of(["--config_file", f"configs/accelerate/{name}.yaml"])
    assert (found.name, found.processes) == expected
    assert strategy_of(["--config_file", f"configs/accelerate/{name}.yaml"], 16).processes in (
        1,
        16,
    )


def test_a_count_without_a_launch_is_ddp_and_said():
    found = strategy_of([], 4)
    assert (found.name, found.processes, found.assumed) == ("DDP", 4, True)
    assert "assumed" in str(found)
    assert strategy_of([]) == Strategy("one device")
    assert not strategy_of(["--multi_gpu", "--num_processes", "2"]).assumed


def test_what_lies_in_the_cpus_memory_is_seen(tmp_path):
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "overlap_comm": False}
    (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": zero}))
    config = {"distributed_type": "DEEPSPEED", "num_processes": 4,
              "deepspeed_config": {"deepspeed_config_file": str(tmp_path / "ds.json")}}  # fmt: skip
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    found = strategy_of(["--config_file", str(tmp_path / "a.yaml")])
    assert (found.offload, found.overlaps) == ("optimizer states", False)
    config = {"distributed_type": "FSDP", "num_processes": 4,
              "fsdp_config": {"fsdp_version": 2, "fsdp_offload_params": True}}  # fmt: skip
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    assert strategy_of(["--config_file", str(tmp_path / "a.yaml")]).offload == "weights and states"


def test_what_is_sharded():
    shards = {
        name: [getattr(Strategy(name, 4), f"shards_{part}") for part in PARTS]
        for name in ("one device", "DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3", "FSDP2")
    }
    assert shards == {
        "one device": [False] * 3, "DDP": [False] * 3, "ZeRO-1": [False, False, True],
        "ZeRO-2": [False, True, True], "ZeRO-3": [True] * 3, "FSDP2": [True] * 3,
    }  # fmt: skip


PARTS = ("weights", "gradients", "states")


def test_a_broken_deepspeed_json_is_one_line(tmp_path):
    (tmp_path / "ds.json").write_text("{")
    words = ["--use_deepspeed", "--deepspeed_config_file", str(tmp_path / "ds.json")]
    with pytest.raises(ValueError, match="no DeepSpeed JSON"):
        strategy_of(words)
