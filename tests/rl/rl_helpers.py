"""Functions that the tests of rl/ share: one rollout, comparisons of weights, resumed runs."""

from pathlib import Path

import torch

from hfllm.recipe.trainers import installed_key
from hfllm.rl.ppo_config import PPOConfig
from hfllm.rl.rollout import Rollout

# The key is spelled otherwise before transformers 5.23.
CHECKPOINTING = installed_key("activation_checkpointing", PPOConfig.__dataclass_fields__)
# of a rollout of 8 short answers
SETTINGS = dict(
    per_device_train_batch_size=4, steps_per_generation=2, max_completion_length=8, max_steps=4,
    learning_rate=1e-3, lr_scheduler_type="constant", logging_steps=1, save_strategy="no",
    report_to="none", bf16=False, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    **{CHECKPOINTING: False},
)  # fmt: skip
SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def even_tokens(completion_ids, **_) -> list[float]:
    """A toy reward: the share of even token ids in the answer."""
    return [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]


def scores(batch):
    """What `even_tokens` gives for the answers of a rollout, (B,)."""
    return torch.tensor(even_tokens(Rollout.from_batch(batch).answers()))


def rollout(trainer, rows=8):
    """One rollout of the first prompts, in training mode."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    torch.manual_seed(0)
    return trainer._generate_and_score_completions([trainer.train_dataset[i] for i in range(rows)])


def logged(trainer, name):
    return [row[name] for row in trainer.state.log_history if name in row]


def weights(trainer):
    return {name: x.clone() for name, x in trainer.model.state_dict().items()}


def straight_and_resumed(build, **settings):
    """Eight steps in one go, the checkpoint of the third, and what goes on from there."""
    straight = build(**settings, max_steps=8, save_strategy="steps", save_steps=3)
    straight.train()
    checkpoint = Path(straight.args.output_dir) / "checkpoint-3"
    return straight, checkpoint, resumed_from(checkpoint, build, **settings)


def resumed_from(checkpoint, build, **settings):
    resumed = build(**settings, max_steps=8)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    return resumed


def assert_same(left, right, **tolerance):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], **tolerance)
