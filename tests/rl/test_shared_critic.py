"""A value head on the policy's hidden states: one pass for both, no gradient into the policy."""

import pytest
import torch
from peft import LoraConfig
from rl_helpers import assert_same, logged, rollout, straight_and_resumed, weights
from transformers import AutoModelForCausalLM

from hfllm.fast_cpu import shared_prefix
from hfllm.modeling.adapters import without_adapter
from hfllm.rl.critic import load_critic
from hfllm.rl.value_head import ValueHead

LORA = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
SHARED = {"shared_critic": True, "critic": None, "critic_learning_rate": 0.05}


def fill(head):
    torch.nn.init.normal_(head.score.weight)
    torch.nn.init.constant_(head.score.bias, 0.3)


ONCE = {"num_iterations": 1, "steps_per_generation": 1, "per_device_train_batch_size": 8}


# Used once in one step, GRPO leaves the old log-probabilities to us.
@pytest.mark.parametrize("rollout_is", [ONCE, {"num_iterations": 1}, {"num_iterations": 2}])
@pytest.mark.parametrize("peft", [None, LORA])
@pytest.mark.parametrize("prefix", ["run once", "run with each row"])
def test_values_are_the_head_on_the_old_policys_hidden_states(
    build, rollout_is, peft, prefix, monkeypatch
):
    monkeypatch.setattr(shared_prefix, "MIN_SAVED", 1 if prefix == "run once" else 10**6)
    trainer = build(**SHARED, **rollout_is, max_completion_length=60, peft_config=peft)
    fill(trainer.model.critic)
    if peft:  # or policy and reference would be the same
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    alone = []
    without_adapter(trainer.model).model.layers[0].register_forward_hook(
        lambda _, args, __: alone.append(len(args[0]) == 1)
    )
    batch = rollout(trainer, rows=24)  # a few of them end early
    assert (sum(alone) > 1) is (prefix == "run once")  # one is the trial's
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    tokens = batch["completion_ids"].size(1)
    policy = trainer.model.get_base_model() if peft else trainer.model
    with torch.no_grad():
        hidden = policy.model(input_ids=ids, attention_mask=mask).last_hidden_state
        table = policy.lm_head(hidden).log_softmax(-1)[:, -tokens - 1 : -1]
        values = trainer.model.critic(hidden)[:, -tokens - 1 : -1]
    written = batch["completion_mask"] > 0
    assert written.sum() > 8 and (~written).any()
    torch.testing.assert_close(batch["values"][written], values[written], atol=5e-5, rtol=1e-4)
    assert (batch["values"][~written] == 0).all()
    logps = table.gather(-1, batch["completion_ids"][..., None])[..., 0]
    torch.testing.assert_close(
        batch["old_per_token_logps"][written], logps[written], atol=5e-5, rtol=1e-4
    )


def test_only_the_head_learns_from_values(build):
    one, other = ({}, {})
    for vf_coef, after in ((0.0, one), (100.0, other)):
        trainer = build(**SHARED, vf_coef=vf_coef, max_steps=1)
        trainer.train()
        after.update(weights(trainer))
    head = {"critic.score.weight", "critic.score.bias"}
    assert {name for name in one if name.startswith("critic.")} == head
    assert all(torch.equal(one[name], other[name]) for name in one if name not in head)
    assert all((one[name] == 0).all() and (other[name] != 0).any() for name in head)


def test_the_head_learns_what_answers_are_worth(build):
    trainer = build(**SHARED, max_steps=60, learning_rate=0.0, beta=0.0)
    trainer.train()
    losses = logged(trainer, "value/loss")
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8])


@pytest.mark.parametrize("peft", [None, LORA])
def test_saved_and_resumed_inside_a_rollout(build, tmp_path, peft):
    settings = {**SHARED, "peft_config": peft, "generate_dtype": "bfloat16"}
    straight, _, resumed = straight_and_resumed(build, **settings)
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    straight.save_model(tmp_path / "model")
    head = ValueHead.from_pretrained(tmp_path / "model" / "critic")
    assert_same(head.state_dict(), straight.model.critic.state_dict(), atol=0, rtol=0)
    if peft is None:
        AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_a_critic_and_a_head_are_one_too_many(build, reward_folder):
    for wrong in ({**SHARED, "critic": reward_folder}, {"critic": None}):
        with pytest.raises(ValueError, match="give a critic, or set shared_critic"):
            build(**wrong)


def test_a_checkpoint_of_the_other_kind_says_so(build, reward_folder):
    head, model = build(**SHARED), build()
    head.save_model(head.args.output_dir + "/head")
    model.save_model(model.args.output_dir + "/model")
    with pytest.raises(ValueError, match="written with shared_critic=false"):
        load_critic(head.model.critic, model.args.output_dir + "/model")
    with pytest.raises(ValueError, match="written with shared_critic=true"):
        load_critic(model.model.critic, head.args.output_dir + "/head")


def test_a_head_cast_by_an_engine_still_gives_float32(build):
    head = build(**SHARED).model.critic.to(torch.bfloat16)
    assert head(torch.randn(2, 3, 32)).dtype == torch.float32


def test_evaluation_with_a_head(build, prompts):
    trainer = build(**SHARED, eval_dataset=prompts.select(range(4)), per_device_eval_batch_size=4)
    fill(trainer.model.critic)
    assert trainer.evaluate()["eval_value/loss"] > 0
