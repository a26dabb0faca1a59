"""What our GRPO and RLOO override and read in TRL; an upgrade that changes it fails."""

import inspect
import re

import pytest
import trl
from group_helpers import BOTH, group_rollout, maker
from transformers import Trainer

from hfllm.rl.group_trainer import GroupTrainer, GRPOTrainer, RLOOTrainer

LOGPS = (
    "model input_ids attention_mask logits_to_keep batch_size compute_entropy compute_aux_loss "
    "pixel_values image_grid_thw num_images pixel_attention_mask spatial_shapes num_tiles "
    "image_sizes token_type_ids mm_token_type_ids image_position_ids"
)
SIGNATURES = {
    "_get_train_sampler": "dataset",
    "_tokenize_prompts": "prompts",
    "_generate_single_turn": "prompt_ids images multimodal_fields",
    "_generate_and_score_completions": "inputs",
    "_calculate_rewards": "inputs prompts completions completion_ids_list",
    "_prepare_inputs": "generation_batch",
    "_get_per_token_logps_and_entropies": LOGPS,
    "_save_checkpoint": "model trial",
    "_load_optimizer_and_scheduler": "checkpoint",
    "log": "logs start_time",
}
THEIRS = (trl.GRPOTrainer, trl.RLOOTrainer)
OURS = {
    "scores_old_answers", "_mode", "_sum", "_say", "notes", "meter", "scored_answers",
    "first_rollouts", "equal_groups", "missing_end", "rollout_policy", "_unpads", "_errors",
    "_rewards",
}  # fmt: skip


@pytest.fixture()
def make(tmp_path, policy_folder, tokenizer, prompts):
    return maker(tmp_path, policy_folder, tokenizer, prompts)


def test_the_trainers_are_trls_with_one_class_of_ours_before_them():
    assert GroupTrainer.__bases__ == (object,)
    assert GRPOTrainer.__mro__[1:3] == (GroupTrainer, trl.GRPOTrainer)
    assert RLOOTrainer.__mro__[1:3] == (GroupTrainer, trl.RLOOTrainer)
    for made in (GRPOTrainer, RLOOTrainer):
        assert not [name for name, x in vars(made).items() if inspect.isfunction(x)]


@pytest.mark.parametrize("theirs", THEIRS)
def test_every_override_is_pinned(theirs):
    ours = {name for name, x in vars(GroupTrainer).items() if inspect.isfunction(x)}
    assert {name for name in ours if hasattr(theirs, name)} - {"__init__"} == set(SIGNATURES)
    source = inspect.getsource(theirs) + inspect.getsource(Trainer)
    for name in OURS:
        assert not hasattr(theirs, name)
        assert re.search(rf"self\.{name}\b", source) is None


@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(theirs, name):
    parameters = list(inspect.signature(getattr(theirs, name)).parameters)[1:]
    more = ["num_generations", "has_tool_images"]  # our override passes on what it is given
    extra = more if (theirs, name) == (trl.GRPOTrainer, "_generate_single_turn") else []
    assert parameters == SIGNATURES[name].split() + extra


@pytest.mark.parametrize("method", BOTH)
def test_attributes_that_we_read(make, method):
    trainer = make(method)
    for name in ("eos_token_ids", "reward_weights", "beta", "temperature", "_metrics", "_dist",
                 "_tokenizer", "_is_vlm", "chat_template_kwargs", "model_wrapped", "ref_model",
                 "num_generations", "num_iterations", "_step", "_buffered_inputs",
                 "aux_loss_enabled", "reward_func_names", "is_fsdp_enabled"):  # fmt: skip
        assert hasattr(trainer, name), name
    assert trainer._dist.is_zero3 is False
    assert all(hasattr(trainer, name) for name in OURS - {"_rewards"})


SHARED = {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages"}


@pytest.mark.parametrize(
    ("method", "more"),
    [("grpo", {"num_items_in_batch", "old_per_token_logps"}), ("rloo", {"old_logps"})],
)
def test_what_trl_puts_into_a_rollout(make, method, more):
    batch = group_rollout(make(method))
    assert set(batch) == SHARED | more
    prompt, answer = batch["prompt_mask"], batch["completion_mask"]
    assert (prompt.diff(dim=1) >= 0).all() and (answer.diff(dim=1) <= 0).all()
