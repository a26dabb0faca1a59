"""PPOConfig: structured recipes, one answer per prompt, refused settings."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError

from hfllm.rl.ppo_config import PPOConfig

CPU = {"use_cpu": True, "bf16": False, "report_to": "none"}


def test_structured_recipe_becomes_a_config_with_checked_keys(tmp_path):
    base = OmegaConf.structured(PPOConfig)
    merged = OmegaConf.merge(
        base, {**CPU, "output_dir": str(tmp_path), "learning_rate": "1e-5", "lam": 0.9}
    )
    config = OmegaConf.to_object(merged)
    assert isinstance(config, PPOConfig)
    assert (config.learning_rate, config.lam, config.num_generations) == (1e-5, 0.9, 1)
    with pytest.raises(ConfigKeyError, match="vf_coeff"):
        OmegaConf.merge(base, {"vf_coeff": 1})


def test_one_answer_per_prompt_survives_for_any_batch(tmp_path):
    for batch, steps in ((4, 1), (1, 2), (6, 3)):
        config = PPOConfig(
            str(tmp_path),
            per_device_train_batch_size=batch,
            steps_per_generation=steps,
            eval_strategy="steps",
            eval_steps=6,
            **CPU,
        )
        assert config.num_generations == config.num_generations_eval == 1
        assert config.generation_batch_size == batch * steps
    assert PPOConfig(str(tmp_path), num_generations=4, **CPU).num_generations == 4


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"loss_type": "cispo"}, "loss_type=cispo"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"mask_truncated_completions": True}, "missing_eos_penalty"),
        ({"generate_dtype": "int8"}, "generate_dtype=int8"),
    ],
)
def test_settings_that_break_token_advantages_are_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        PPOConfig(str(tmp_path), **changes, **CPU)
    assert "\n" not in str(caught.value)


def test_every_setting_of_ours_explains_itself():
    fields = PPOConfig.__dataclass_fields__
    ours = [name for name in PPOConfig.__annotations__]
    assert len(ours) > 10
    assert all(fields[name].metadata["help"] for name in ours)
