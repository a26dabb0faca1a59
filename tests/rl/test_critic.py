"""The critic: weights of a reward model, left padding, saving and loading."""

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, LlamaForSequenceClassification

from hfllm.rl.critic import (
    Critic,
    build_critic,
    load_critic,
    padded_state_values,
    split_state,
    state_values,
)
from hfllm.rl.unpad import unpad


def batch():
    torch.manual_seed(2)
    ids = torch.randint(7, 250, (3, 10))
    return ids, torch.ones_like(ids)


def test_a_reward_models_head_comes_along(reward_folder):
    critic = build_critic(reward_folder)
    reward = LlamaForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    ids, mask = batch()
    after = critic(input_ids=ids, attention_mask=mask).logits[:, -1, 0]
    torch.testing.assert_close(after, reward(input_ids=ids, attention_mask=mask).logits[:, 0])


def test_from_a_language_model_values_start_at_zero(policy_folder, policy):
    critic = build_critic(policy_folder)
    ids, mask = batch()
    assert (state_values(critic, unpad(ids, mask, 4)) == 0).all()
    weight = critic.model.layers[0].mlp.up_proj.weight
    assert torch.equal(weight, policy.model.layers[0].mlp.up_proj.weight)


def test_a_head_that_reward_models_do_not_have_is_refused(tmp_path):
    small = dict(vocab_size=64, n_embd=16, n_layer=1, n_head=2)
    GPT2ForSequenceClassification(GPT2Config(num_labels=1, **small)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="another head than reward models.*shared_critic"):
        build_critic(tmp_path)


def test_a_value_sees_only_what_lies_before_its_token(reward_folder):
    critic = build_critic(reward_folder)
    ids, mask = batch()
    values = state_values(critic, unpad(ids, mask, tokens=4))  # of tokens 6..9
    changed = ids.clone()
    changed[:, 7] = 5
    again = state_values(critic, unpad(changed, mask, tokens=4))
    torch.testing.assert_close(again[:, :2], values[:, :2])  # V before tokens 6 and 7
    assert (again[:, 2:] != values[:, 2:]).all()


def test_left_padding_leaves_values_alone(reward_folder):
    critic = build_critic(reward_folder)
    ids, mask = batch()
    padded = torch.cat([torch.zeros(3, 5, dtype=torch.long), ids], dim=1)
    wide = torch.cat([torch.zeros(3, 5, dtype=torch.long), mask], dim=1)
    plain = state_values(critic, unpad(ids, mask, 4))
    torch.testing.assert_close(
        state_values(critic, unpad(padded, wide, 4)), plain, atol=1e-5, rtol=0
    )


def test_detached_it_leaves_the_plain_policy_and_comes_back(policy, reward_folder):
    names = set(policy.state_dict())
    critic = build_critic(reward_folder)
    place = Critic(policy, critic)
    with pytest.raises(RuntimeError), place.detached() as inside:
        assert inside is critic and set(policy.state_dict()) == names
        raise RuntimeError
    assert policy.critic is critic and place.model is critic
    mine, own = split_state(policy.state_dict())
    assert set(mine) == names and set(own) == set(critic.state_dict())
    assert split_state(None) == (None, None)


def test_padded_rows_have_the_values_of_unpadded_ones(reward_folder):
    critic = build_critic(reward_folder)
    ids, mask = batch()
    mask[0, :3] = mask[1, 8:] = 0
    written = mask[:, -4:]
    plain = padded_state_values(critic, ids, mask, 4)
    found = state_values(critic, unpad(ids, mask, 4))
    torch.testing.assert_close(found * written, plain * written, atol=1e-5, rtol=0)


def test_it_saves_and_loads_itself_beside_a_policy(policy, reward_folder, tmp_path):
    place = Critic(policy, build_critic(reward_folder))
    before = {name: x.clone() for name, x in place.model.state_dict().items()}
    place.save(tmp_path / "nothing", {})  # a process that gathered none
    assert not (tmp_path / "nothing").exists()
    place.save(tmp_path)
    with torch.no_grad():
        for parameter in place.model.parameters():
            parameter.zero_()
    place.load(tmp_path)
    for name, x in place.model.state_dict().items():
        assert torch.equal(x, before[name])


def test_its_parameters_are_split_from_the_policys(policy, reward_folder):
    plain = list(policy.parameters())
    place = Critic(policy, build_critic(reward_folder))
    mine, own = place.split_parameters(policy)
    assert [id(p) for p in mine] == [id(p) for p in plain]
    assert {id(p) for p in own} == {id(p) for p in policy.critic.parameters()}


def test_a_checkpoint_without_critic_says_so(reward_folder, tmp_path):
    with pytest.raises(ValueError, match="no critic/ folder"):
        load_critic(build_critic(reward_folder), tmp_path)


def test_a_missing_head_is_no_alarm_and_another_missing_weight_is_an_error(
    policy, policy_folder, tmp_path, caplog, capfd
):
    build_critic(policy_folder)
    assert "MISSING" not in caplog.text + "".join(capfd.readouterr())
    state = {k: v for k, v in policy.state_dict().items() if "q_proj" not in k}
    policy.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match="it lacks 2 weights, 'model.layers.0.self_attn.q_proj"):
        build_critic(tmp_path)
