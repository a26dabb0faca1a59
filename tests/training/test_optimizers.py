"""Muon for matrices and AdamW for the rest, behind one optimizer."""

import copy

import pytest
import torch
from transformers import TrainingArguments, get_constant_schedule_with_warmup

from hfllm.fast_cpu import stacked_muon as muon
from hfllm.training.optimizers import MuonWithAdamW, muon_parameters, optimizer_factory


@pytest.fixture()
def args(tmp_path):
    return TrainingArguments(
        output_dir=str(tmp_path), learning_rate=0.01, weight_decay=0.1, use_cpu=True
    )


def made(model, args):
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    cls, kwargs = optimizer_factory("muon", model, args)
    return cls(groups, **kwargs)


def step(model, optimizer, seed=0):
    torch.manual_seed(seed)
    ids = torch.randint(7, 300, (2, 16))
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def test_matrices_of_the_layers_go_to_muon_all_else_to_adamw(llama, args):
    optimizer = made(llama, args)
    names = {id(p): name for name, p in llama.named_parameters()}
    muon = {names[id(p)] for g in optimizer.muon.param_groups for p in g["params"]}
    adamw = {names[id(p)] for g in optimizer.adamw.param_groups for p in g["params"]}
    assert muon | adamw == set(names.values())
    assert not muon & adamw
    assert all(".layers." in name and name.endswith("_proj.weight") for name in muon)
    assert adamw == {n for n in names.values() if "norm" in n or "embed" in n}
    decay = {n: g["weight_decay"] for g in optimizer.param_groups for n in [len(g["params"])]}
    assert sorted(decay.values()) == [0.0, 0.1, 0.1]


def test_a_head_of_its_own_and_a_score_head_stay_with_adamw(bpe):
    from transformers import LlamaForSequenceClassification

    from hfllm.modeling.build import build_config, build_model
    from tiny import MODEL

    untied = build_model({**MODEL, "tie_word_embeddings": False}, bpe, 64, seed=0)
    assert id(untied.lm_head.weight) not in muon_parameters(untied)
    config = build_config(dict(MODEL), bpe, 64)
    config.num_labels = 1
    reward = LlamaForSequenceClassification(config)
    assert id(reward.score.weight) not in muon_parameters(reward)
    assert len(muon_parameters(reward)) == 2 * 7


def test_every_parameter_moves_and_at_rate_zero_none(llama, args):
    before = copy.deepcopy(llama.state_dict())
    optimizer = made(llama, args)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(llama, optimizer)
    assert all(torch.equal(v, before[k]) for k, v in llama.state_dict().items())
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    step(llama, optimizer)
    assert all(not torch.equal(p, before[n]) for n, p in llama.named_parameters())


def test_a_scheduler_moves_the_rate_of_both(llama, args):
    optimizer = made(llama, args)
    schedule = get_constant_schedule_with_warmup(optimizer, num_warmup_steps=4)
    for expected in (0.0, 0.0025, 0.005):
        rates = {g["lr"] for part in (optimizer.muon, optimizer.adamw) for g in part.param_groups}
        assert rates == {expected}
        assert {g["lr"] for g in optimizer.param_groups} == {expected}
        step(llama, optimizer)
        schedule.step()


def test_a_loaded_state_goes_on_as_the_saved_one(llama, args, tmp_path):
    optimizer = made(llama, args)
    schedule = get_constant_schedule_with_warmup(optimizer, num_warmup_steps=5)
    for i in range(3):
        step(llama, optimizer, i)
        schedule.step()
    torch.save((llama.state_dict(), optimizer.state_dict(), schedule.state_dict()), tmp_path / "s")
    twin = copy.deepcopy(llama)
    again = made(twin, args)
    schedule_again = get_constant_schedule_with_warmup(again, num_warmup_steps=5)
    weights, state, rates = torch.load(tmp_path / "s", weights_only=True)
    twin.load_state_dict(weights)
    again.load_state_dict(state)
    schedule_again.load_state_dict(rates)
    for i in range(3, 6):
        for model, one, rate in ((llama, optimizer, schedule), (twin, again, schedule_again)):
            step(model, one, i)
            rate.step()
    assert {g["lr"] for g in again.muon.param_groups} == {0.01}  # the schedule reaches it still
    assert all(torch.equal(v, twin.state_dict()[k]) for k, v in llama.state_dict().items())


def test_null_leaves_it_to_the_library_and_an_unknown_name_is_told(llama, args):
    assert optimizer_factory(None, llama, args) is None
    assert optimizer_factory("muon", llama, args)[0] is MuonWithAdamW
    with pytest.raises(ValueError, match="optimizer: 'adam' is none of muon, null"):
        optimizer_factory("adam", llama, args)


@pytest.mark.parametrize("together", [1, 3, 100])
def test_stacked_steps_are_torchs_own(monkeypatch, together):
    monkeypatch.setattr(muon, "STACK", together * 8 * 24)  # matrices of (24, 8) at once
    shapes = [(24, 8)] * 4 + [(8, 24), (16, 16), (16, 16)]
    torch.manual_seed(0)
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    options = {"lr": 0.02, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 4}
    pair = (muon.StackedMuon(mine, **options), torch.optim.Muon(theirs, **options))
    for _ in range(5):
        for one, other in zip(mine[:-1], theirs[:-1], strict=True):  # the last gets no gradient
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for optimizer in pair:
            optimizer.step()
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, atol=2e-3)  # bfloat16 inside; a step moves 0.1
    assert torch.equal(mine[-1], theirs[-1])
    moments = [
        [o.state[p]["momentum_buffer"] for p in ps[:-1]]
        for o, ps in zip(pair, (mine, theirs), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))


def test_muons_options_come_from_optim_args(llama, args):
    args.optim_args = "ns_steps=4, momentum=0.9"
    groups = made(llama, args).muon.param_groups
    assert {(g["ns_steps"], g["momentum"]) for g in groups} == {(4, 0.9)}
    for wrong, message in (
        ("ns_step=4", "'ns_step' is no option of muon .*Did you mean: 'ns_steps'"),
        ("ns_steps=few", "trainer.optim_args: ns_steps takes int, not 'few'"),
    ):
        args.optim_args = wrong
        with pytest.raises(ValueError, match=message):
            made(llama, args)
