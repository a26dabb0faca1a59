"""Each key of TRL's CheckedDPOConfig is classified, and does what its class says."""

import dataclasses
import inspect
import re

import pytest
import trl
from transformers import TrainingArguments

from hfllm.training import preference_keys as keys
from hfllm.training.dpo_config import CheckedDPOConfig
from hfllm.training.kto_config import CheckedKTOConfig

CPU = {"use_cpu": True, "bf16": False, "report_to": "none"}


def own_keys(config):
    theirs = {item.name for item in dataclasses.fields(config)}
    return theirs - {item.name for item in dataclasses.fields(TrainingArguments)}


def problem(tmp_path, config=CheckedDPOConfig, **changes):
    with pytest.raises(ValueError) as caught:
        config(str(tmp_path), **CPU, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_key_of_trl_is_unclassified():
    ours = {*keys.DPO_WORKS, *keys.DPO_NEEDS}
    assert not ours & set(keys.DPO_ELSEWHERE)
    assert own_keys(trl.DPOConfig) - set(keys.DPO_ELSEWHERE) == ours
    ours = {*keys.KTO_WORKS, *keys.KTO_NEEDS}
    assert not ours & set(keys.KTO_ELSEWHERE)
    assert own_keys(trl.KTOConfig) - set(keys.KTO_ELSEWHERE) == ours
    known = {item.name for item in dataclasses.fields(trl.DPOConfig)}
    of_other_trainers = {"chat_template_path", "eos_token"}
    refused = set(keys.DPO_ELSEWHERE) - of_other_trainers
    assert refused | set(keys.DPO_RANGES) <= known


def test_the_losses_are_those_of_trl():
    source = inspect.getsource(trl.DPOTrainer)
    assert set(re.findall(r'loss_type == "(\w+)"', source)) == set(keys.DPO_LOSSES)
    kto = inspect.getsource(trl.KTOTrainer)
    assert set(re.findall(r'loss_type == "(\w+)"', kto)) == set(keys.KTO_LOSSES)
    (others,) = re.findall(r"f_divergence_loss_types = {(.*?)}", source)
    assert set(re.findall(r"\w+", others)) == set(keys.OF_THE_DIFFERENCE)
    assert set(re.findall(r'f_divergence_type == "(\w+)"', source)) == set(keys.F_DIVERGENCES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_type": "sigmiod"}, "loss_type=sigmiod; use one of sigmoid, .* Did you mean"),
        ({"loss_type": ["ipo", "x"]}, "loss_type=x; use one of"),
        ({"loss_type": ["ipo", "sft"], "loss_weights": [1.0]}, "must have the same length"),
        ({"beta": 0.0}, "beta: must be above 0, not 0.0"),
        ({"label_smoothing": 0.1}, "label_smoothing: it has no effect without loss_type=robust or"),
        ({"label_smoothing": 0.5, "loss_type": "robust"}, "the share of wrong labels"),
        ({"label_smoothing": 1.5, "loss_type": "aot"}, "label_smoothing=1.5; use a value from 0"),
        ({"loss_type": "exo_pair"}, "exo_pair needs one above 0"),
        ({"ld_alpha": 1.5}, "ld_alpha: must be from 0 to 1, not 1.5"),
        ({"discopop_tau": 0.1}, "discopop_tau: it has no effect without loss_type=discopop"),
        ({"f_alpha_divergence_coef": 0.1}, "no effect without f_divergence_type=alpha_divergence"),
        ({"f_divergence_type": "kl"}, "f_divergence_type=kl; use one of reverse_kl"),
        ({"f_divergence_type": "forward_kl", "loss_type": "apo_zero"}, "apo_zero has no such form"),
        ({"precompute_ref_batch_size": 4}, "no effect without precompute_ref_log_probs=True"),
        ({"use_weighting": True, "loss_type": "aot"}, "aot sorts the pairs"),
        ({"loss_type": "aot_unpaired", "per_device_train_batch_size": 1}, "compares the pairs of"),
    ],
)  # fmt: skip
def test_what_would_do_nothing_or_wrong_is_refused_in_one_line(tmp_path, changes, words):
    assert re.search(words, problem(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_type": "bco"}, "loss_type=bco; use one of kto, apo_zero_unpaired"),
        ({"desirable_weight": 0.0}, "desirable_weight: must be above 0, not 0.0"),
        ({"beta": -1.0}, "beta: must be above 0, not -1.0"),
        ({"precompute_ref_batch_size": 4}, "no effect without precompute_ref_log_probs=True"),
    ],
)
def test_what_kto_cannot_use_is_refused_in_one_line(tmp_path, changes, words):
    assert re.search(words, problem(tmp_path, CheckedKTOConfig, **changes))


NEEDED = {"exo_pair": {"label_smoothing": 1e-3}, "robust": {"label_smoothing": 0.1}}


@pytest.mark.parametrize(
    "changes",
    [*({"loss_type": name, **NEEDED.get(name, {})} for name in keys.DPO_LOSSES),
     {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
     {"ld_alpha": 0.5}, {"use_weighting": True}, {"pad_to_multiple_of": 16},
     {"disable_dropout": False}, {"discopop_tau": 0.1, "loss_type": "discopop"},
     {"precompute_ref_log_probs": True, "precompute_ref_batch_size": 2},
     *({"f_divergence_type": name} for name in keys.F_DIVERGENCES),
     {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.3}],
    ids=str,
)  # fmt: skip
def test_what_works_trains(build_dpo, changes):
    trainer = build_dpo(**{"precompute_ref_log_probs": True, "max_steps": 2, **changes})
    before = {name: x.detach().clone() for name, x in trainer.model.named_parameters()}
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2 and losses[0] != losses[1]
    assert any(not x.equal(before[name]) for name, x in trainer.model.named_parameters())
