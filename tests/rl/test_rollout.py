"""`Rollout`: its fields survive TRL's dict (shuffle, split) and a checkpoint."""

import dataclasses

import pytest
import torch
from rl_helpers import rollout
from transformers import TrainerCallback
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from hfllm.rl import rollout_files
from hfllm.rl.rollout import Rollout

NAMES = {field.name for field in dataclasses.fields(Rollout)}


def test_every_entry_has_the_shape_that_it_says(build):
    batch = rollout(build())
    found = Rollout.from_batch(batch)
    assert NAMES - set(batch) == {"tool_mask"}
    assert all(getattr(found, name) is batch[name] for name in NAMES & set(batch))
    rows, tokens = batch["completion_ids"].shape
    prompts = {"prompt_ids", "prompt_mask"}
    scalars = {"num_items_in_batch", "scored_share"}
    for name in NAMES & set(batch) - scalars - prompts:
        assert batch[name].shape == (rows, tokens), name
    assert all(batch[name].dim() == 0 for name in scalars)
    ids, mask, width = found.rows
    assert ids.shape == mask.shape == (rows, batch["prompt_ids"].size(1) + tokens)
    assert width == tokens
    assert [len(ids) for ids in found.answers()] == batch["completion_mask"].sum(1).tolist()
    assert set(found.to_batch(batch)) == set(batch)


def test_rows_stay_together_where_trl_shuffles_and_splits_them(build):
    batch = rollout(build())
    parts = split_tensor_dict(shuffle_sequence_dict(batch), 2)
    starts = {tuple(ids): i for i, ids in enumerate(batch["prompt_ids"].tolist())}
    for part in map(Rollout.from_batch, parts):
        origin = [starts[tuple(ids)] for ids in part.prompt_ids.tolist()]
        for name in ("completion_ids", "values", "privileged_values", "advantages", "returns"):
            assert torch.equal(getattr(part, name), batch[name][origin])


def test_what_a_tool_wrote_is_not_written_by_the_policy(build):
    batch = rollout(build())
    tool = torch.ones_like(batch["completion_mask"])
    tool[:, 1] = 0
    written = Rollout.from_batch(batch | {"tool_mask": tool}).written
    assert torch.equal(written, (batch["completion_mask"] * tool).float())


def test_it_comes_back_from_a_checkpoint_also_from_one_with_the_old_names(tmp_path):
    values, told = torch.rand(2, 3), torch.rand(2, 3)
    new = {"values": values, "privileged_values": told}
    for saved in (new, {"values": values, "informed": told}):
        rollout_files.save(tmp_path / "rollout_0.pt", 3, [dict(saved)])
        used, (batch,) = rollout_files.load(tmp_path / "rollout_0.pt", torch.device("cpu"))
        assert used == 3 and batch.keys() == {*new, "scored_share"}
        assert torch.equal(batch["privileged_values"], told)
    rollout_files.save(tmp_path / "rollout_0.pt", 3, [{"values": values}])
    _, (batch,) = rollout_files.load(tmp_path / "rollout_0.pt", torch.device("cpu"))
    assert torch.equal(batch["privileged_values"], torch.zeros(2, 3))


def test_a_rollout_belongs_to_the_number_of_processes_that_saved_it(tmp_path):
    assert not rollout_files.is_of(tmp_path, 1)
    for process in range(2):
        rollout_files.save(rollout_files.file_of(tmp_path, process), 1, [])
    assert [rollout_files.is_of(tmp_path, count) for count in (1, 2, 3)] == [False, True, False]


def test_a_process_of_several_loads_its_part_although_its_device_has_an_index(tmp_path):
    rollout_files.save(tmp_path / "r.pt", 1, [{"values": torch.rand(2, 3), "num_images": [1, 2]}])
    _, (batch,) = rollout_files.load(tmp_path / "r.pt", torch.device("cpu:0"))
    assert batch["values"].device.type == "cpu" and batch["num_images"] == [1, 2]


class CountedSteps(TrainerCallback):
    """Stands for training: `trainer.training_step` counts a micro-batch; notes the place after."""

    def __init__(self, trainer):
        self.trainer, self.places = trainer, []
        trainer.training_step = self.training_step
        trainer.add_callback(self)

    def training_step(self, *_):
        self.trainer._step += 1
        return torch.zeros(())

    def on_step_end(self, *_, **__):
        self.places.append(self.trainer._step % 8)


@pytest.mark.parametrize("accumulation", [1, 2, 3, 4])
def test_the_place_in_a_rollout_follows_from_the_optimizer_step(build, accumulation):
    """Also over the end of an epoch, whose last step may have fewer micro-batches."""
    trainer = build(
        per_device_train_batch_size=2,
        steps_per_generation=4,
        gradient_accumulation_steps=accumulation,
        max_steps=14,
    )
    counted = CountedSteps(trainer)
    trainer.train()
    assert counted.places == [
        rollout_files.steps_into_rollout(trainer.args, range(24), n) for n in range(1, 15)
    ]
