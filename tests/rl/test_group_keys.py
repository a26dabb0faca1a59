"""Each key of TRL's GRPOConfig and RLOOConfig is classified, and does what its class says."""

import dataclasses

import pytest
import trl
from group_helpers import BOTH, config, maker
from rl_helpers import logged, weights
from test_ppo_keys import OTHER
from transformers import TrainingArguments

from hfllm.rl import group_keys, rollout_keys

CLASSES = {
    "grpo": (
        trl.GRPOConfig, group_keys.GRPO_WORKS, rollout_keys.NEEDS | rollout_keys.NEEDS_OF_GRPO,
        group_keys.REFUSED, group_keys.CONDITIONS,
    ),
    "rloo": (
        trl.RLOOConfig, group_keys.RLOO_WORKS, rollout_keys.NEEDS, rollout_keys.REFUSED, {},
    ),
}  # fmt: skip


@pytest.fixture()
def make(tmp_path, policy_folder, tokenizer, prompts):
    return maker(tmp_path, policy_folder, tokenizer, prompts)


def other(method, key):
    fields = {item.name: item for item in dataclasses.fields(BOTH[method][1])}
    default = fields[key].default
    if key in OTHER:
        return OTHER[key]
    if default is None:
        return 0.5
    return not default if isinstance(default, bool) else default + 1


@pytest.mark.parametrize("method", BOTH)
def test_no_key_of_trl_is_unclassified(method):
    theirs, works, needs, refused, conditions = CLASSES[method]
    found = {item.name for item in dataclasses.fields(theirs)}
    found -= {item.name for item in dataclasses.fields(TrainingArguments)}
    ours = [key for keys in (works, needs, refused, conditions) for key in keys]
    assert len(ours) == len(set(ours))  # one class each
    assert found - set(ours) == set(), "classify it in rl/group_keys.py"
    assert set(ours) - found == set()


CASES = [(method, key) for method in BOTH
         for key in (*CLASSES[method][3], *rollout_keys.REFUSED_OF_TRAINER)]  # fmt: skip


@pytest.mark.parametrize(("method", "key"), CASES)
def test_what_would_do_nothing_or_wrong_is_refused_with_its_reason(tmp_path, method, key):
    value = 1 if key == "max_tool_calling_iterations" else other(method, key)
    reason = (CLASSES[method][3] | rollout_keys.REFUSED_OF_TRAINER)[key]
    with pytest.raises(ValueError) as caught:
        config(method, tmp_path, **{key: value})
    message = str(caught.value)
    assert message.startswith(f"{method.upper()} cannot use ") and reason in message
    assert "\n" not in message


@pytest.mark.parametrize("key", group_keys.CONDITIONS)
def test_what_has_no_effect_beside_other_keys_is_refused(tmp_path, key):
    off = {
        "epsilon": {"loss_type": "sapo"}, "epsilon_high": {"loss_type": "sapo"},
        "delta": {"loss_type": "sapo"}, "importance_sampling_level": {"loss_type": "vespo"},
        "scale_rewards": {"multi_objective_aggregation": "normalize_then_sum"},
    }.get(key, {})  # fmt: skip
    with pytest.raises(ValueError, match=f"^GRPO cannot use {key}: it has no effect, "):
        config("grpo", tmp_path, **{key: other("grpo", key)}, **off)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_generations": 1}, "num_generations: must be 2 or more, not 1"),
        ({"num_iterations": 0}, "num_iterations: must be 1 or more, not 0"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty: must be 0 or more, not -1.0"),
        ({"mask_truncated_completions": True, "missing_eos_penalty": 1.0}, "set missing_eos_penal"),
        ({"generate_dtype": "int8"}, "generate_dtype=int8; use null, 'bfloat16' or 'float16'"),
    ],
)
@pytest.mark.parametrize("method", BOTH)
def test_values_that_do_not_go_are_one_line(tmp_path, method, changes, words):
    with pytest.raises(ValueError) as caught:
        config(method, tmp_path, **changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_type": "ppo"}, "loss_type=ppo; use grpo, dr_grpo, dapo"),
        ({"loss_type": "cispo"}, "set epsilon_high"),
        ({"loss_type": "luspo"}, "set importance_sampling_level=sequence"),
        ({"scale_rewards": "all"}, "scale_rewards=all; use group, batch, none"),
    ],
)
def test_grpos_own_values_that_do_not_go(tmp_path, changes, words):
    with pytest.raises(ValueError) as caught:
        config("grpo", tmp_path, **changes)
    assert words in str(caught.value)


def test_a_range_of_rewards_is_two_numbers_in_order(tmp_path):
    with pytest.raises(ValueError, match=r"reward_clip_range=\[1.0, -1.0\]; use \[lowest"):
        config("rloo", tmp_path, reward_clip_range=(1.0, -1.0))


@pytest.mark.parametrize("given", [True, "True", False, "False"])  # a recipe's arrive as texts
def test_true_and_false_scale_rewards_too(tmp_path, given):
    wanted = "group" if str(given) == "True" else "none"
    assert config("grpo", tmp_path, scale_rewards=given).scale_rewards == wanted


SHARED = [
    {"disable_dropout": False}, {"num_generations": 2}, {"max_completion_length": 3},
    {"shuffle_dataset": False}, {"pad_to_multiple_of": 16},
    {"steps_per_generation": None, "generation_batch_size": 16}, {"temperature": 0.7},
    {"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1},
    {"generation_kwargs": {"no_repeat_ngram_size": 2}}, {"chat_template_kwargs": {"extra": 1}},
    {"repetition_penalty": 1.2}, {"cache_implementation": "dynamic"}, {"beta": 0.1},
    {"num_iterations": 3}, {"epsilon": 0.1, "epsilon_high": 0.3}, {"reward_weights": [2.0]},
    {"mask_truncated_completions": True, "max_completion_length": 90}, {"log_completions": True},
]  # fmt: skip
OWN = {
    "grpo": [
        {"cast_lm_head_to_fp32": True}, {"top_entropy_quantile": 0.5}, {"entropy_coef": 0.01},
        {"use_adaptive_entropy": True, "entropy_target": 6.0}, {"delta": 1.5},
        {"multi_objective_aggregation": "normalize_then_sum"}, {"scale_rewards": "batch"},
        {"off_policy_mask_threshold": 0.5, "num_iterations": 2},
        {"importance_sampling_level": "sequence", "loss_type": "grpo"},
        {"use_bias_correction_kl": False, "beta": 0.1},
        *({"loss_type": name} for name in ("grpo", "dr_grpo", "bnpo", "dapo", "sapo", "vespo")),
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        {"loss_type": "sapo", "sapo_temperature_neg": 1.2, "sapo_temperature_pos": 1.1},
        {"loss_type": "vespo", "vespo_k_pos": 1.0, "vespo_lambda_pos": 2.0, "vespo_k_neg": 2.0,
         "vespo_lambda_neg": 1.0},
    ],
    "rloo": [{"normalize_advantages": True}, {"reward_clip_range": (0.4, 0.6)}],
}  # fmt: skip
NOT_TRIED = {  # of a library, a model or a machine that is not here, or set elsewhere
    "model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "ds3_gather_for_generation",
    "use_vllm", "num_generations_eval",
}  # fmt: skip


@pytest.mark.parametrize("method", BOTH)
def test_what_works_is_tried(method):
    tried = {key for changes in [*SHARED, *OWN[method]] for key in changes} | NOT_TRIED
    assert {*CLASSES[method][1], *CLASSES[method][4]} <= tried


@pytest.mark.parametrize(
    ("method", "changes"), [(m, c) for m in BOTH for c in [*SHARED, *OWN[m]]], ids=str
)
def test_it_trains_and_the_weights_move(make, method, changes):
    trainer = make(method, max_steps=2, learning_rate=1e-2, **changes)
    before = weights(trainer)
    trainer.train()
    moved = weights(trainer)
    assert all(weight.isfinite().all() for weight in moved.values())
    assert any(not weight.equal(before[name]) for name, weight in moved.items())
    assert None not in logged(trainer, "loss") and logged(trainer, "reward")
