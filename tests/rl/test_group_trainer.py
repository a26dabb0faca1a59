"""GRPO and RLOO: advantages and losses by hand, what does not move, and what is said."""

from pathlib import Path

import pytest
import torch
from group_helpers import BOTH, answers, group_rollout, maker
from peft import LoraConfig
from rl_helpers import assert_same, even_tokens, logged, weights
from transformers import GPT2Config, GPT2LMHeadModel


@pytest.fixture()
def make(tmp_path, policy_folder, tokenizer, prompts):
    return maker(tmp_path, policy_folder, tokenizer, prompts)


def paid(batch):
    """What `even_tokens` gives, by group: (prompts, 4)."""
    return torch.tensor(even_tokens(answers(batch))).view(-1, 4)


def rows(batch):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return ids, mask, batch["completion_ids"].size(1)


def logps_one_by_one(model, batch):
    """Log-probabilities (B, T) of the answers, each row alone and without padding."""
    ids, mask, tokens = rows(batch)
    out = torch.zeros_like(batch["completion_mask"], dtype=torch.float32)
    for i, (row, kept) in enumerate(zip(ids, mask, strict=True)):
        plain = row[kept > 0]
        table = model(input_ids=plain[None], use_cache=False).logits[0].log_softmax(-1)
        length = int(batch["completion_mask"][i].sum())
        chosen = table[:-1].gather(1, plain[1:, None])[-length:, 0]
        out[i, :length] = chosen
    return out


def test_grpos_advantage_is_the_reward_in_units_of_its_group(make):
    batch = group_rollout(make("grpo"))
    rewards = paid(batch)
    mean, std = rewards.mean(dim=1, keepdim=True), rewards.std(dim=1, keepdim=True)
    assert (std > 0).all()
    torch.testing.assert_close(batch["advantages"], ((rewards - mean) / (std + 1e-4)).flatten())
    plain = group_rollout(make("grpo", scale_rewards="none"))
    torch.testing.assert_close(plain["advantages"], (paid(plain) - mean).flatten())


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_rloos_advantage_is_the_reward_less_the_mean_of_the_others(make, beta):
    trainer = make("rloo", beta=beta)
    with torch.no_grad():  # the policy has moved from its reference
        trainer.model.lm_head.weight += 0.05 * torch.randn_like(trainer.model.lm_head.weight)
    batch = group_rollout(trainer)
    rewards = paid(batch)
    if beta:
        with torch.no_grad():
            new = logps_one_by_one(trainer.model, batch)
            reference = logps_one_by_one(trainer.ref_model, batch)
        kl = (new - reference).sum(dim=1).view(-1, 4)
        assert kl.abs().max() > 1e-2
        rewards = rewards - beta * kl
    expected = rewards - (rewards.sum(dim=1, keepdim=True) - rewards) / 3
    torch.testing.assert_close(batch["advantages"], expected.flatten(), atol=1e-5, rtol=1e-5)


def ratio(trainer, batch):
    """New log-probabilities, with a gradient, and the old ones moved away from them."""
    old = logps_one_by_one(trainer.model, batch).detach()
    return old + 0.3 * torch.randn_like(old) * batch["completion_mask"]


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo"])
def test_grpos_loss_is_the_formula(make, loss_type):
    trainer = make("grpo", loss_type=loss_type, beta=0.1, steps_per_generation=1, num_generations=2)
    batch = group_rollout(trainer)
    with torch.no_grad():
        trainer.model.lm_head.weight += 0.02 * torch.randn_like(trainer.model.lm_head.weight)
    torch.manual_seed(1)
    batch["old_per_token_logps"] = ratio(trainer, batch)
    found = trainer._compute_loss(trainer.model, batch)
    new = logps_one_by_one(trainer.model, batch)
    mask, advantage = batch["completion_mask"].float(), batch["advantages"][:, None]
    r = (new - batch["old_per_token_logps"]).exp()
    gap = logps_one_by_one(trainer.ref_model, batch) - new
    kl = (gap.exp() - gap - 1) * r  # use_bias_correction_kl
    loss = -torch.min(r * advantage, r.clamp(0.8, 1.2) * advantage) + 0.1 * kl
    tokens = mask.sum(dim=1)
    expected = {
        "dapo": (loss * mask).sum() / mask.sum(),
        "bnpo": (loss * mask).sum() / mask.sum(),
        "grpo": ((loss * mask).sum(dim=1) / tokens).mean(),
        "dr_grpo": (loss * mask).sum() / (len(mask) * 8),
    }[loss_type]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(found, trainer.model.lm_head.weight)[0]
    ours = torch.autograd.grad(expected, trainer.model.lm_head.weight)[0]
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-4)


def test_rloos_loss_is_the_formula(make):
    trainer = make("rloo")
    batch = group_rollout(trainer)
    torch.manual_seed(1)
    batch["old_logps"] = ratio(trainer, batch).sum(dim=1)
    found = trainer._compute_loss(trainer.model, batch)
    new = logps_one_by_one(trainer.model, batch).sum(dim=1)  # of whole answers
    r = (new - batch["old_logps"]).exp()
    advantage = batch["advantages"]
    expected = -torch.min(r * advantage, r.clamp(0.8, 1.2) * advantage).mean()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", BOTH)
def test_at_learning_rate_zero_nothing_moves_and_the_ratio_is_one(make, method):
    trainer = make(method, learning_rate=0.0, num_iterations=2, beta=0.1, max_steps=8)
    before = weights(trainer)
    trainer.train()
    assert_same(before, weights(trainer), atol=0, rtol=0)
    assert max(logged(trainer, "clip_ratio/region_mean")) == 0
    assert max(map(abs, logged(trainer, "kl"))) < 1e-5
    batch = group_rollout(trainer)
    old = batch["old_logps"] if method == "rloo" else batch["old_per_token_logps"].sum(dim=1)
    now = logps_one_by_one(trainer.model, batch).sum(dim=1)
    torch.testing.assert_close(now, old, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("method", BOTH)
def test_the_reward_rises(make, method):
    batch = dict(per_device_train_batch_size=32, steps_per_generation=1)
    trainer = make(method, max_steps=25, learning_rate=1e-2, beta=0.0, **batch)
    trainer.train()
    rewards = logged(trainer, "reward")
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("steps", [3, 4])
def test_a_resumed_run_is_the_straight_one_at_and_inside_a_rollout(make, method, steps):
    """4 steps a rollout, and the rows of a step sorted by length."""
    more = dict(num_iterations=2, beta=0.1, max_steps=8)
    straight = make(method, save_strategy="steps", save_steps=steps, **more)
    straight.train()
    checkpoint = Path(straight.args.output_dir) / f"checkpoint-{steps}"
    assert (checkpoint / "rollout_0.pt").exists() == (steps % 4 > 0)
    resumed = make(method, **more)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    assert logged(resumed, "reward") == logged(straight, "reward")


@pytest.mark.parametrize("method", BOTH)
def test_the_reference_of_an_adapter_is_the_policy_without_it_after_a_resume_too(make, method):
    lora = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    more = dict(peft_config=lora, beta=0.1, max_steps=6, learning_rate=3e-3)
    more |= dict(generate_dtype="bfloat16")
    straight = make(method, save_strategy="steps", save_steps=4, **more)
    assert straight.ref_model is None
    straight.train()
    resumed = make(method, **more)
    resumed.train(resume_from_checkpoint=f"{straight.args.output_dir}/checkpoint-4")
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    assert logged(resumed, "kl") == logged(straight, "kl")
    assert max(map(abs, logged(straight, "kl"))) > 1e-5


def test_a_table_of_positions_counts_no_padding(make, tokenizer, tmp_path):
    ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=6)
    sizes = dict(n_embd=32, n_layer=1, n_head=2, n_positions=128, vocab_size=len(tokenizer))
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**sizes, **ids))
    model.transformer.wpe.weight.data.normal_()
    model.save_pretrained(tmp_path / "gpt2")
    trainer = make("rloo", model=GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2"), beta=0.0)
    batch = group_rollout(trainer, prompts=4)
    assert (batch["prompt_mask"] == 0).any()
    alone = logps_one_by_one(trainer.model, batch).sum(dim=1)
    torch.testing.assert_close(batch["old_logps"], alone, atol=1e-4, rtol=1e-5)


# ---- rewards


@pytest.mark.parametrize("method", BOTH)
def test_a_missing_end_costs_the_penalty_and_is_logged(make, method):
    trainer = make(method, missing_eos_penalty=0.5, beta=0.0, reward_weights=[2.0])
    batch = group_rollout(trainer)
    ended = torch.tensor([ids[-1] in (2, 6) for ids in answers(batch)]).float().view(-1, 4)
    rewards = 2 * paid(batch) - 0.5 * (1 - ended)
    assert 0 < ended.mean() < 1
    if method == "grpo":
        scaled = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    else:
        scaled = rewards - (rewards.sum(dim=1, keepdim=True) - rewards) / 3
    torch.testing.assert_close(batch["advantages"], scaled.flatten())
    (mean,) = trainer._metrics["train"]["rewards/missing_end/mean"]
    assert mean == pytest.approx(float(ended.mean()) - 1)


def test_an_unscored_answer_stays_so_beside_the_penalty(make):
    def some(completions, **_):
        return [float(i) if i < 6 else None for i in range(len(completions))]

    trainer = make("grpo", reward_funcs=some, missing_eos_penalty=1.0)
    batch = group_rollout(trainer)
    assert batch["advantages"][6:].tolist() == [0.0, 0.0]
    assert trainer.scored_answers.scored == 6 and trainer.scored_answers.answers == 8


@pytest.mark.parametrize("method", BOTH)
def test_an_error_of_a_reward_function_is_one_line_that_names_it(make, method):
    def broken(completions, **_):
        return [1 / 0 for _ in completions]

    with pytest.raises(ValueError, match="^reward function broken failed at .*ZeroDivisionError"):
        group_rollout(make(method, reward_funcs=broken))
    with pytest.raises(ValueError, match="2 weights for 1 reward functions"):
        make(method, reward_weights=[1.0, 2.0])


@pytest.mark.parametrize("method", BOTH)
def test_rewards_that_are_all_equal_are_said(make, method, capsys):
    def same(completions, **_):
        return [1.0] * len(completions)

    trainer = make(method, reward_funcs=same)
    trainer.train()
    said = capsys.readouterr().out
    assert "all rewards of the first 2 rollouts are equal (1)" in said
    assert "all 4 groups of answers: in each, every answer got the same reward" in said
    assert trainer.equal_groups.groups == trainer.equal_groups.equal == 4


def test_groups_with_one_reward_are_counted(make):
    def by_prompt(prompts, completion_ids, **_):
        paid = even_tokens(completion_ids)
        return [0.0 if "number 0" in str(p) else x for p, x in zip(prompts, paid, strict=True)]

    trainer = make("grpo", reward_funcs=by_prompt)
    group_rollout(trainer)
    assert (trainer.equal_groups.groups, trainer.equal_groups.equal) == (2, 1)


@pytest.mark.parametrize("method", BOTH)
def test_answers_without_an_end_may_be_left_out_of_the_loss(make, method):
    trainer = make(method, mask_truncated_completions=True, beta=0.0)
    batch = group_rollout(trainer)
    truncated = batch["completion_mask"].sum(dim=1) == 0
    assert truncated.any() and not truncated.all()
    assert trainer._compute_loss(trainer.model, batch).isfinite()


@pytest.mark.parametrize("method", BOTH)
def test_groups_must_fill_a_rollout(make, method):
    with pytest.raises(ValueError) as caught:
        make(method, num_generations=3)
    assert str(caught.value) == (
        "num_generations: groups of 3 answers do not fill a rollout of 8 "
        "(per_device_train_batch_size 4 x 1 process(es) x 2 step(s) of a generation); use 2, 4, 8, "
        "or make it 9 answers"
    )
