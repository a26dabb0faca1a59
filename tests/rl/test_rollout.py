"""`Rollout`: its fields survive TRL's dict (shuffle, split) and a checkpoint."""

import dataclasses

import torch
from rl_helpers import rollout
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from hfllm.rl.rollout import Rollout, load_micro_batches, save_micro_batches

NAMES = {field.name for field in dataclasses.fields(Rollout)}


def test_every_entry_has_the_shape_that_it_says(build):
    batch = rollout(build())
    found = Rollout.from_batch(batch)
    assert NAMES - set(batch) == {"tool_mask"}
    assert all(getattr(found, name) is batch[name] for name in NAMES & set(batch))
    rows, tokens = batch["completion_ids"].shape
    prompts = {"prompt_ids", "prompt_mask"}
    for name in NAMES & set(batch) - {"num_items_in_batch"} - prompts:
        assert batch[name].shape == (rows, tokens), name
    assert batch["num_items_in_batch"].dim() == 0
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
        save_micro_batches(tmp_path / "rollout_0.pt", 3, [dict(saved)])
        used, (batch,) = load_micro_batches(tmp_path / "rollout_0.pt", torch.device("cpu"))
        assert used == 3 and batch.keys() == new.keys()
        assert torch.equal(batch["privileged_values"], told)
    save_micro_batches(tmp_path / "rollout_0.pt", 3, [{"values": values}])
    _, (batch,) = load_micro_batches(tmp_path / "rollout_0.pt", torch.device("cpu"))
    assert torch.equal(batch["privileged_values"], torch.zeros(2, 3))
