"""PPO on a GPU, where TRL's kernels score: `pytest -m gpu` on a machine that has one."""

import math

import pytest
import torch
from peft import LoraConfig
from rl_helpers import logged, rollout

pytestmark = pytest.mark.gpu
LORA = {"r": 4, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}


@pytest.mark.parametrize("shared", [False, True])
def test_a_rollouts_log_probabilities_are_the_policys(build, shared):
    critic = {"shared_critic": True, "critic": None} if shared else {}
    trainer = build(use_cpu=False, **critic)
    batch = rollout(trainer)
    assert batch["old_per_token_logps"].is_cuda
    policy = trainer.accelerator.unwrap_model(trainer.model).cpu().eval()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1).cpu()
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1).cpu()
    with torch.no_grad():
        logits = policy(input_ids=ids, attention_mask=mask).logits[:, :-1]
    tokens = batch["completion_ids"].size(1)
    table = (logits[:, -tokens:].float() / trainer.temperature).log_softmax(-1)
    expected = table.gather(-1, ids[:, -tokens:, None]).squeeze(-1)
    written = batch["completion_mask"].cpu() > 0
    found = batch["old_per_token_logps"].cpu()
    torch.testing.assert_close(found[written], expected[written], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("change", [{}, {"shared_critic": True, "critic": None}])
def test_it_trains_in_bf16_with_a_copy_that_samples(build, change):
    trainer = build(
        use_cpu=False, bf16=True, generate_dtype="bfloat16", peft_config=LoraConfig(**LORA),
        max_steps=8, **change,
    )  # fmt: skip
    trainer.train()
    losses = logged(trainer, "loss")
    assert len(losses) == 8
    assert all(map(math.isfinite, losses))
    # nothing has moved before the first update: old and new log-probabilities agree
    assert logged(trainer, "policy/approx_kl")[0] == pytest.approx(0, abs=1e-3)
