"""Trainer keys that train nothing or need a missing package are refused with their key."""

import pytest
import transformers.trainer_optimizer  # noqa: F401  what the tests patch must be there

from hfllm.recipe.trainers import build_trainer_config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["max_steps=0"], "max_steps: 0 trains nothing"),
        (["max_steps=-1", "num_train_epochs=0"], "num_train_epochs: 0.* trains nothing"),
        (["optim=adamw_8bit"], "optim: .*bitsandbytes"),
        (["optim=adamw_torch_4bit"], "optim: .*torchao"),
        (["use_liger_kernel=true"], "use_liger_kernel: .*liger"),
    ],
)
def test_what_trains_nothing_or_needs_a_missing_package_is_told_with_its_key(
    workspace, monkeypatch, overrides, words
):
    monkeypatch.setattr("transformers.trainer_optimizer.is_bitsandbytes_available", lambda: False)
    monkeypatch.setattr("transformers.trainer_optimizer.is_torchao_available", lambda: False)
    monkeypatch.setattr("transformers.utils.is_liger_kernel_available", lambda: False)
    with pytest.raises(ValueError, match=f"^sft.trainer.{words}"):
        spec = workspace.load(*(f"sft.trainer.{one}" for one in overrides)).steps["sft"]
        build_trainer_config(spec, 3, "out")
