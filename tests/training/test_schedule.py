"""Warmup-stable-decay: the decay's length from the run's, unless the recipe gives it."""

import pytest
import torch
from transformers import TrainingArguments
from transformers.optimization import get_scheduler

from hfllm.recipe.recipe import StepSpec
from hfllm.stages.pretrain import STAGE
from hfllm.stages.pretrain import Config as PretrainConfig
from hfllm.training.schedule import decay_arguments, sft_decay


def spec(**trainer):
    return StepSpec("pretrain", STAGE, PretrainConfig(trainer=trainer), {})


@pytest.mark.parametrize(("steps", "decay"), [(100, 20), (7, 1), (4, 1), (1, 1)])
def test_the_last_fifth_decays(steps, decay):
    kwargs = decay_arguments(spec(max_steps=steps))["lr_scheduler_kwargs"]
    assert kwargs == {"num_decay_steps": decay, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}


def test_what_the_recipe_says_stays():
    own = {"num_decay_steps": 3}
    assert decay_arguments(spec(max_steps=100, lr_scheduler_kwargs=own)) == {}
    assert decay_arguments(spec(max_steps=100, lr_scheduler_type="cosine")) == {}
    filled = decay_arguments(spec(max_steps=100, lr_scheduler_kwargs={"min_lr_ratio": 0.0}))
    assert filled["lr_scheduler_kwargs"] == {
        "num_decay_steps": 20, "decay_type": "1-sqrt", "min_lr_ratio": 0.0,
    }  # fmt: skip


def test_the_learning_rate_rises_stays_and_falls_to_a_tenth(tmp_path):
    kwargs = decay_arguments(spec(max_steps=20))["lr_scheduler_kwargs"]
    args = TrainingArguments(output_dir=str(tmp_path), lr_scheduler_kwargs=kwargs, use_cpu=True)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_scheduler(
        "warmup_stable_decay", optimizer, 5, 20, scheduler_specific_kwargs=args.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82])
    assert rates[5:17] == [1.0] * 12
    expected = [0.1 + 0.9 * (1 - (i / 4) ** 0.5) for i in (1, 2, 3)]
    assert rates[17:20] == pytest.approx(expected)
    assert rates[20] == pytest.approx(0.1)


def test_sft_decays_in_its_last_third_once_its_length_is_known(tmp_path):
    args = TrainingArguments(
        str(tmp_path), max_steps=30, lr_scheduler_type="warmup_stable_decay", use_cpu=True
    )
    assert sft_decay(args) == {"num_decay_steps": 10}
    args.lr_scheduler_kwargs = {"num_decay_steps": 3}
    assert sft_decay(args) == {"num_decay_steps": 3}
    args.lr_scheduler_kwargs = {"min_lr_ratio": 0.1}
    assert sft_decay(args) == {"num_decay_steps": 10, "min_lr_ratio": 0.1}
    cosine = TrainingArguments(str(tmp_path), lr_scheduler_type="cosine", use_cpu=True)
    assert not sft_decay(cosine)
