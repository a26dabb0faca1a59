"""Micro-batch, accumulation and learning rate follow model, machine and recipe."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from transformers import LlamaConfig

from hfllm.recipe.show import show_recipe
from hfllm.recipe.trainers import build_trainer_config
from hfllm.runs import machine as machine_module
from hfllm.runs.machine import memory_limit
from hfllm.runs.manifest import Manifest
from hfllm.training import defaults
from hfllm.training.defaults import Machine, choose_defaults, this_machine
from hfllm.training.memory import GIB
from tiny import DROP, load_recipe

CPU = Machine(memory=24 * GIB, processes=1, bf16=True, on_gpu=False)
GPU = Machine(memory=80 * GIB, processes=1, bf16=True, on_gpu=True)
SMOL = dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
            num_key_value_heads=3, vocab_size=49152, max_position_embeddings=8192)  # fmt: skip
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
UNSET = {"per_device_train_batch_size": DROP, "learning_rate": DROP}
MICRO, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"


def batch(spec):
    args = build_trainer_config(spec, 0, "out")
    return args.per_device_train_batch_size, args.gradient_accumulation_steps


@pytest.fixture()
def outside(workspace):
    """A recipe whose steps start from a folder with the config of SmolLM2, and set no batch."""
    LlamaConfig(**SMOL, tie_word_embeddings=True).save_pretrained("smol")
    each = {"init": "smol", "trainer": UNSET, "data": {"seq_len": 512}}
    ppo = {k: each[k] for k in ("init", "trainer")} | {"reward": "smol"}
    pretrain = {**each, "model": DROP}
    workspace.recipe({"pretrain": pretrain, "sft": each, "reward": each, "ppo": ppo})
    return workspace


def chosen(workspace, name, machine=CPU, *overrides):
    recipe = workspace.load(*overrides)
    choose_defaults(recipe, [name], machine)
    return recipe.steps[name]


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward", "ppo"])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_a_step_stay_whatever_passes_at_once(outside, name, processes):
    spec = chosen(outside, name, dataclasses.replace(CPU, processes=processes))
    micro, accumulation = batch(spec)
    assert micro * accumulation * processes == spec.stage.default_values()[MICRO]
    assert micro < spec.stage.default_values()[MICRO]


def test_rows_that_processes_cannot_share_become_the_next_multiple(outside):
    micro, accumulation = batch(chosen(outside, "sft", dataclasses.replace(CPU, processes=3)))
    assert micro * accumulation * 3 == 18


def test_a_model_of_ours_fits_whole_on_any_machine(workspace):
    workspace.recipe({name: {"trainer": UNSET} for name in ("pretrain", "sft", "reward", "ppo")})
    for name in ("pretrain", "sft", "reward", "ppo"):
        for memory in (3, 24, 1000):
            spec = chosen(workspace, name, dataclasses.replace(CPU, memory=memory * GIB))
            assert spec.chosen == {}, (name, memory)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_recipes_train_as_they_say(path):
    recipe = load_recipe(path)
    for memory in (6, 24):
        choose_defaults(recipe, list(recipe.steps), dataclasses.replace(CPU, memory=memory * GIB))
        assert {name: spec.chosen for name, spec in recipe.steps.items() if spec.chosen} == {}


def test_less_memory_gives_smaller_micro_batches_and_a_large_gpu_takes_all(outside):
    sizes = [
        batch(chosen(outside, "pretrain", dataclasses.replace(CPU, memory=n * GIB)))[0]
        for n in (4, 6, 24, 1000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-2] == sizes[-1]  # a CPU's budget has an end
    assert batch(chosen(outside, "pretrain", GPU)) == (16, 1)


@pytest.mark.parametrize("key", [MICRO, ACCUMULATION])
def test_a_batch_that_the_recipe_sets_is_left_to_it(outside, key):
    spec = chosen(outside, "sft", CPU, f"sft.trainer.{key}=3")
    assert not {MICRO, ACCUMULATION} & set(spec.chosen)
    assert getattr(build_trainer_config(spec, 0, "out"), key) == 3


def test_learning_rates_go_down_with_the_size_and_up_with_an_adapter(outside):
    full = build_trainer_config(chosen(outside, "sft"), 0, "out").learning_rate
    outside.recipe({"sft": {"init": "smol", "trainer": UNSET, "peft": LORA}})
    adapter = build_trainer_config(chosen(outside, "sft"), 0, "out").learning_rate
    assert (full, adapter) == (1e-4, 5e-4)
    spec = chosen(outside, "sft", CPU, "sft.trainer.learning_rate=7e-3")
    assert build_trainer_config(spec, 0, "out").learning_rate == 7e-3


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward", "ppo"])
def test_rates_never_rise_with_the_size(workspace, name):
    stage = workspace.load().stages[name]
    rates = stage.rates
    for rows in ([r.up_to for r in rates], [-r.full for r in rates], [-r.lora for r in rates]):
        assert rows == sorted(rows)
    assert stage.default_values()["learning_rate"] >= rates[0].full


def test_show_says_the_batch_and_why(outside):
    recipe = outside.load()
    choose_defaults(recipe, ["sft"], CPU)
    lines = [line for line in show_recipe(recipe, "sft") if "chosen: " in line]
    assert [line.split(":")[0].strip() for line in lines] == [
        f"trainer.{MICRO}", "trainer.learning_rate", f"trainer.{ACCUMULATION}"
    ]  # fmt: skip
    assert "16 rows a step; " in lines[0]
    assert "5.0 GiB are allowed on this CPU" in lines[0]


def test_processes_are_those_of_the_launch_line(workspace, monkeypatch):
    workspace.recipe({"launch": {"accelerate_args": ["--num_processes", "4"]}})
    assert this_machine(workspace.load()).processes == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert this_machine(workspace.load()).processes == 2


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/job/step\n", {"job/memory.max": "2048", "job/step/memory.max": "max"}),
        ("4:memory:/job\n1:cpu:/\n", {"memory/job/memory.limit_in_bytes": "2048"}),
        ("4:memory:/elsewhere\n", {"memory/memory.limit_in_bytes": "2048"}),
    ],
    ids=["cgroup 2, of a group above", "cgroup 1", "cgroup 1, in a container"],
)
def test_a_control_groups_limit_counts(tmp_path, monkeypatch, own, files):
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        used = {"memory.max": "memory.current"}.get(path.name, "memory.usage_in_bytes")
        path.with_name(used).write_text("10")
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(machine_module, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(machine_module, "OWN_GROUPS", tmp_path / "own")
    assert memory_limit(on_gpu=False) == 2048
    assert machine_module.free_memory(on_gpu=False) == 2038


def test_the_log_and_the_manifest_say_what_was_chosen(trained, monkeypatch, capsys):
    small = Machine(memory=GIB // 2, processes=1, bf16=False, on_gpu=False)
    monkeypatch.setattr(defaults, "this_machine", lambda *_: small)
    trained.recipe({"sft": {"trainer": {MICRO: DROP}}})
    step = trained.run("sft", "sft.trainer.max_steps=2")
    line = f"{MICRO} 1, {ACCUMULATION} 16: 16 rows a step; "
    assert f"sft: {line}" in capsys.readouterr().out
    (note,) = [note for note in Manifest.read(step.manifest).notes if MICRO in note]
    assert note.startswith(line)


def test_a_batch_in_parts_trains_the_same_model(trained, monkeypatch):
    trained.recipe({"sft": {"trainer": {MICRO: DROP}}})
    whole = trained.run("sft", "sft.trainer.max_steps=3")
    losses = trained.losses("sft")
    shutil.rmtree(whole.folder)
    monkeypatch.setattr(defaults, "CPU_BUDGET", 1)
    parts = trained.run("sft", "sft.trainer.max_steps=3")
    assert whole.spec.chosen == {}
    assert parts.spec.chosen[ACCUMULATION][0] == 16
    assert len(losses) == 3
    assert trained.losses("sft") == pytest.approx(losses, rel=1e-4)
