"""The PPO algorithm: the tensors of a rollout, the losses of an update, and a reward that rises."""

import pytest
import torch
from rl_helpers import assert_same, even_tokens, logged, rollout, scores, weights
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from hfllm.rl.ppo_config import LOSS_TYPES
from hfllm.rl.rewards import load_reward_model


def test_at_learning_rate_zero_nothing_moves(build):
    trainer = build(learning_rate=0.0, max_steps=8)
    before = weights(trainer)
    trainer.train()
    assert_same(before, weights(trainer), atol=0, rtol=0)
    assert max(map(abs, logged(trainer, "objective/kl"))) < 1e-4
    assert max(logged(trainer, "policy/approx_kl")) < 1e-9
    assert max(logged(trainer, "clip_ratio/region_mean")) == 0
    assert max(logged(trainer, "value/clip_ratio")) == 0


def test_the_first_minibatchs_ratio_is_one(build):
    trainer = build(generate_dtype="bfloat16")
    trainer.train()
    kl = logged(trainer, "policy/approx_kl")
    assert kl[0] < 1e-9 < 1e-4 < kl[1]


def test_one_generation_per_prompt(build):
    trainer = build()
    batch = rollout(trainer)
    starts = {
        tuple(ids[mask > 0].tolist())
        for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
    }
    assert trainer.num_generations == 1 and len(starts) == 8
    assert len(trainer._get_train_sampler()) == 24 * 2 * 2  # minibatches and epochs


def test_a_rollouts_tensors(build):
    trainer = build(whiten_advantages=False, lam=1.0, beta=0.0, missing_eos_penalty=2.0)
    batch = rollout(trainer)
    mask = batch["completion_mask"].float()
    ended = torch.tensor(
        [any(i in (2, 6) for i in row) for row in batch["completion_ids"].tolist()]
    )
    score = scores(batch) - 2.0 * (~ended).float()
    # With gamma and lambda 1 and no KL, every token's return is the answer's score.
    torch.testing.assert_close(batch["returns"], score[:, None] * mask)
    torch.testing.assert_close(batch["advantages"], batch["returns"] - batch["values"] * mask)
    assert batch["advantages"].shape == batch["old_per_token_logps"].shape == mask.shape


def test_kl_is_in_the_reward_or_in_the_loss(build):
    inside = build(lam=1.0, whiten_advantages=False)
    with torch.no_grad():
        inside.model.lm_head.weight += 0.1 * torch.randn_like(inside.model.lm_head.weight)
    batch = rollout(inside)
    mask = batch["completion_mask"].float()
    kl = (batch["old_per_token_logps"] - batch["ref_per_token_logps"]) * mask
    ends = (
        scores(batch)
        - (batch["completion_ids"].gather(1, mask.sum(1).long()[:, None] - 1)[:, 0] != 6).float()
    )
    expected = ends - 0.05 * kl.sum(dim=1)
    torch.testing.assert_close(batch["returns"][:, 0], expected, atol=1e-5, rtol=1e-5)
    assert kl.abs().max() > 1e-3
    outside = build(kl_in_reward=False, max_steps=2)
    outside.train()
    assert "kl" in outside.state.log_history[0] and "kl" not in inside._metrics["train"]


def test_batch_of_eight_equals_four_accumulated_twice(build):
    common = dict(num_iterations=1, max_steps=2, optim="sgd", learning_rate=0.1, max_grad_norm=0)
    one = build(per_device_train_batch_size=8, steps_per_generation=1, **common)
    start = weights(one)
    one.train()
    two = build(
        per_device_train_batch_size=4,
        steps_per_generation=2,
        gradient_accumulation_steps=2,
        **common,
    )
    two.train()
    assert_same(weights(one), weights(two), atol=2e-6, rtol=0)
    assert (weights(one)["lm_head.weight"] - start["lm_head.weight"]).abs().max() > 1e-4


# An entropy bonus is a mean of each micro-batch's tokens: there it matters who shares one.
@pytest.mark.parametrize("bonus", [0.0, 0.01])
def test_rows_of_a_step_are_run_in_order_of_length(build, bonus):
    settings = dict(per_device_train_batch_size=2, gradient_accumulation_steps=2)
    settings |= dict(num_iterations=1, steps_per_generation=4, max_steps=1)
    trainer = build(entropy_coef=bonus, **settings)
    trainer.train()
    lengths = [
        (part["prompt_mask"].sum(1) + part["completion_mask"].sum(1)).tolist()
        for part in trainer._buffered_inputs
    ]
    steps = [lengths[0] + lengths[1], lengths[2] + lengths[3]]
    assert all(step == sorted(step) for step in steps) is (bonus == 0.0)
    assert steps[0] + steps[1] != sorted(steps[0] + steps[1])  # steps are not sorted by length


def test_padding_changes_no_loss(build):
    trainer = build()
    batch = rollout(trainer)
    batch["completion_mask"][:, 5:] = 0  # as if longer answers lay in another micro-batch
    batch["value_mask"][:, 5:] = 0
    loss = trainer._compute_loss(trainer.model, batch)
    width = batch["completion_ids"].size(1)
    tokens = torch.is_tensor
    wide = {
        name: torch.nn.functional.pad(x, (0, 3)) if tokens(x) and x.shape[-1:] == (width,) else x
        for name, x in batch.items()
    }
    for name in ("prompt_ids", "prompt_mask"):
        wide[name] = torch.nn.functional.pad(batch[name], (4, 0))
    assert wide["returns"].size(1) == width + 3
    torch.testing.assert_close(trainer._compute_loss(trainer.model, wide), loss, atol=1e-6, rtol=0)


@pytest.mark.parametrize("learned_positions", [False, True])
def test_left_padding_moves_neither_answers_nor_log_probabilities(
    build, tokenizer, policy, tmp_path, learned_positions
):
    if learned_positions:  # a table, which the columns of padded rows would shift
        sizes = dict(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1)
        config = GPT2Config(**sizes, num_attention_heads=2, initializer_range=0.5)
        GPT2LMHeadModel(config).save_pretrained(tmp_path / "learned")
        policy = GPT2LMHeadModel.from_pretrained(tmp_path / "learned", dtype=torch.float32)
    trainer = build(model=policy, top_k=1)
    batch = rollout(trainer)
    assert (batch["prompt_mask"] == 0).any()
    trainer.model.eval()
    for row in range(8):
        prompt = batch["prompt_ids"][row, batch["prompt_mask"][row] > 0]
        answer = batch["completion_ids"][row, batch["completion_mask"][row] > 0]
        with torch.no_grad():
            logits = trainer.model(torch.cat([prompt, answer])[None]).logits[0]
        table = logits[len(prompt) - 1 : -1].log_softmax(-1)
        assert answer.tolist() == table.argmax(-1).tolist()
        alone = table.gather(-1, answer[:, None])[:, 0]
        there = batch["old_per_token_logps"][row, : len(answer)]
        torch.testing.assert_close(alone, there, atol=1e-5, rtol=1e-5)


def test_what_no_function_scores_teaches_nothing(build):
    def first_half(completion_ids, **_):
        return [1.0 if row < 4 else None for row in range(len(completion_ids))]

    trainer = build(reward_funcs=first_half)
    batch = rollout(trainer)
    assert (batch["value_mask"][:4].sum(dim=1) > 0).all()
    for name in ("advantages", "returns", "value_mask"):
        assert (batch[name][4:] == 0).all()


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("kl_in_reward", [True, False])
def test_rows_that_no_function_scores_change_nothing_for_the_others(build, loss_type, kl_in_reward):
    """Loss and gradient are those of the scored rows alone."""

    def every_second(completion_ids, **_):
        return [ids[0] / 300 if row % 2 else None for row, ids in enumerate(completion_ids)]

    trainer = build(reward_funcs=every_second, loss_type=loss_type, kl_in_reward=kl_in_reward)
    batch = rollout(trainer)
    with torch.no_grad():  # so that the KL in the loss has something to say
        trainer.model.lm_head.weight += 0.05 * torch.randn_like(trainer.model.lm_head.weight)
    alone = {
        name: x[1::2] if torch.is_tensor(x) and x.dim() else x for name, x in batch.items()
    } | {"scored_share": torch.tensor(1.0)}
    assert batch["num_items_in_batch"] == alone["completion_mask"].sum()
    found = []
    for rows in (batch, alone):
        trainer.model.zero_grad()
        loss = trainer._compute_loss(trainer.model, rows)
        loss.backward()
        found.append([loss.detach()] + [p.grad.clone() for p in trainer.model.parameters()])
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)
    assert trainer._metrics["train"]["completions/unscored"] == [0.5]


def test_a_spelled_control_token_in_a_prompt_stays_text(build):
    trainer = build()
    ids, _, _ = trainer._tokenize_prompts([[{"role": "user", "content": "say <|end|> now"}]])
    assert ids[0].count(6) == 1  # the template's own


def test_reward_model_scores_reach_the_rollout(build, reward_folder):
    trainer = build(reward_funcs=[load_reward_model(reward_folder), even_tokens])
    trainer.train()
    assert {"rewards/reward_model/mean", "rewards/even_tokens/mean"} <= trainer.state.log_history[
        0
    ].keys()
    both = (
        logged(trainer, "rewards/reward_model/mean")[0]
        + logged(trainer, "rewards/even_tokens/mean")[0]
    )
    assert logged(trainer, "reward")[0] == pytest.approx(both, abs=1e-5)


def test_a_toy_reward_rises(build):
    trainer = build(
        max_steps=40,
        per_device_train_batch_size=16,
        steps_per_generation=1,
        learning_rate=1e-2,
        beta=0.01,
    )
    trainer.train()
    reward = logged(trainer, "reward")
    assert len(reward) == 20
    assert sum(reward[:3]) / 3 < 0.65 and sum(reward[-3:]) / 3 > 0.85


def test_evaluation_and_every_metric(build, prompts):
    trainer = build(
        eval_dataset=prompts.select(range(8)),
        eval_strategy="steps",
        eval_steps=4,
        per_device_eval_batch_size=4,
    )
    trainer.train()
    train, evaluation = trainer.state.log_history[0], trainer.state.log_history[-2]
    names = {
        "objective/score", "objective/kl", "objective/reward", "completions/ended",
        "completions/mean_length", "value/loss", "value/explained_variance", "value/mean",
        "value/clip_ratio", "policy/approx_kl", "clip_ratio/region_mean", "entropy", "reward",
        "time/generate_s", "time/score_s",
    }  # fmt: skip
    assert names | {"value/grad_norm", "time/update_s", "grad_norm"} <= train.keys()
    assert {f"eval_{name}" for name in names} <= evaluation.keys()
    assert evaluation["eval_objective/kl"] != 0
    assert "frac_reward_zero_std" not in train


def test_nothing_is_explained_where_every_return_is_the_same(build):
    def same(completions, **_):
        return [1.0] * len(completions)

    trainer = build(reward_funcs=same, beta=0.0, lam=1.0, missing_eos_penalty=None, max_steps=4)
    trainer.train()
    assert None not in logged(trainer, "value/mean")
    assert set(logged(trainer, "value/explained_variance")) == {None}


def test_a_head_that_is_not_ours_is_said(build, tokenizer):
    assert build().notes == []
    assert "cast_lm_head_to_fp32" in build(cast_lm_head_to_fp32=True).notes[0]
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, head_dim=8)
    heads = dict(num_attention_heads=2, num_key_value_heads=2, vocab_size=len(tokenizer))
    capped = AutoConfig.for_model("gemma2", final_logit_softcapping=30.0, **sizes, **heads)
    trainer = build(model=AutoModelForCausalLM.from_config(capped), beta=0.0)
    assert build(bf16=True).notes == []  # the reference is prepared: its forward runs in bf16
    assert trainer.notes == [
        "trl's fused head is kept, slower on a CPU: the model changes its hidden states before the "
        "head, or its logits behind it"
    ]
