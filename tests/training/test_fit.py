"""A finished training step: a model folder that plain transformers loads, and its figures."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)

from hfllm.modeling.adapters import UNTIED
from hfllm.modeling.flops import flops_per_token
from hfllm.runs.fingerprint import file_digest
from hfllm.runs.manifest import Manifest
from hfllm.training.fit import check_engine, mean_loss
from tiny import DROP, TRAINER

# Losses of the tiny recipe's first steps on CPU in float32. They move when the rows, the order,
# the initialisation, the optimizer or the schedule do: then look which, before updating them.
PRETRAIN = [5.649, 5.673, 5.595]
SFT = [5.674, 5.573, 5.514]


@pytest.mark.parametrize(("name", "golden"), [("pretrain", PRETRAIN), ("sft", SFT)])
def test_the_golden_trajectory(trained, name, golden):
    assert trained.losses(name)[:3] == pytest.approx(golden, abs=1e-3)


@pytest.mark.parametrize(("name", "ends"), [("pretrain", [2]), ("sft", [6, 2])])
def test_the_model_folder_is_an_ordinary_one(trained, name, ends):
    folder = trained.step(name).model
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size == 300
    generation = GenerationConfig.from_pretrained(folder)
    found = generation.eos_token_id
    assert (found if isinstance(found, list) else [found]) == ends
    assert (generation.pad_token_id, generation.bos_token_id) == (0, 1)
    assert [tokenizer.convert_ids_to_tokens(i) for i in ends][-1] == "<|eos|>"
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat == "<|bos|><|user|>Hi<|end|>"
    ids = torch.tensor([[1, 4, 40, 6, 5]])
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] <= 8


def test_the_tokenizer_is_carried_on_unchanged(trained):
    names = ("tokenizer.json", "chat_template.jinja")
    places = [trained.step(name).tokenizer for name in ("tokenizer", "pretrain", "sft")]
    for name in names:
        assert len({file_digest(place / name) for place in places}) == 1


def test_the_manifest_has_the_figures(trained):
    for name, rows in (("pretrain", 16), ("sft", 16)):
        step = trained.step(name)
        manifest = Manifest.read(step.manifest)
        assert manifest.status == "done"
        assert manifest.metrics["steps"] == 4
        assert manifest.metrics["parameters"] == 30240
        assert manifest.metrics["train_loss"] == pytest.approx(
            sum(trained.losses(name)) / 4, rel=1e-6
        )
        assert 0 < manifest.tokens <= rows * 64
        model = AutoModelForCausalLM.from_pretrained(step.model)
        assert manifest.flops == flops_per_token(model, 64) * manifest.tokens
        assert {"model", "tokenizer", "chat_template", "data"} == set(manifest.artifact)
        totals = {bucket: 0 for bucket in ("in", "kept")}
        for row in manifest.ledger:
            totals[row["bucket"]] = totals.get(row["bucket"], 0) + row["documents"]
        assert totals["in"] == totals["kept"] == {"pretrain": 60, "sft": 24}[name]


def test_the_mean_loss_weighs_each_log_by_its_steps():
    history = [
        {"step": 4, "loss": 2.0},
        {"step": 4, "eval_loss": 9.0},
        {"step": 6, "loss": 1.0},
    ]
    assert mean_loss(history) == pytest.approx((4 * 2.0 + 2 * 1.0) / 6)
    assert mean_loss([]) is None


def test_without_held_out_text_nothing_is_evaluated(trained):
    trained.recipe({"pretrain": {"data": {"heldout": DROP}}})
    step = trained.run("pretrain")
    assert not [k for k in Manifest.read(step.manifest).metrics if k.startswith("eval")]


def test_samples_are_written_along_the_way(trained):
    os.environ["HFLLM_FORCE"] = "pretrain"  # other prompts alone make nothing stale
    step = trained.run("pretrain", "pretrain.sample_prompts=[Person]")
    rows = [json.loads(line) for line in (step.folder / "samples.jsonl").read_text().splitlines()]
    assert {(row["step"], row["prompt"]) for row in rows} == {(4, "Person")}


def test_midtraining_goes_on_from_the_model(trained):
    data = {"mixture": [{"path": "data/heldout.jsonl"}], "seq_len": 64}
    trained.recipe(
        {"midtrain": {"stage": "pretrain", "init": "pretrain", "data": data, "trainer": TRAINER}}
    )
    trained.run("midtrain")
    assert trained.losses("midtrain")[0] < trained.losses("pretrain")[0]


def test_a_low_rank_step_leaves_an_ordinary_model_that_can_be_trained_on(trained):
    lora = "peft={r: 4, target_modules: all-linear, lora_alpha: 64}"
    rate = "sft.trainer.learning_rate=0.03"
    sft = trained.run("sft", f"sft.{lora}", rate)
    base = AutoModelForCausalLM.from_pretrained(trained.step("pretrain").model)
    adapted = PeftModel.from_pretrained(base, sft.folder / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(sft.model)
    ids = torch.arange(7, 47).reshape(2, 20)
    with torch.no_grad():
        expected, got = adapted(input_ids=ids).logits, merged(input_ids=ids).logits
        with adapted.disable_adapter():
            before = adapted(input_ids=ids).logits
    assert torch.allclose(expected, got, atol=1e-5)
    assert (before - got).abs().max() > 1e-3
    assert merged.generation_config.eos_token_id == [6, 2]
    reward = trained.run("reward", f"sft.{lora}", rate, f"reward.{lora}")
    score = AutoModelForSequenceClassification.from_pretrained(reward.model)
    assert score.config.num_labels == 1
    assert Manifest.read(reward.manifest).metrics["steps"] == 2
    saved = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(sft.model, num_labels=1),
        reward.folder / "adapter",
    )
    assert torch.equal(
        saved.get_base_model().score.modules_to_save.default.weight, score.score.weight
    )


@pytest.mark.slow
def test_ppo_of_a_low_rank_policy_leaves_an_ordinary_model_too(trained):
    trained.run("reward")
    ppo = trained.run("ppo", "ppo.peft={r: 4, target_modules: all-linear}")
    merged = AutoModelForCausalLM.from_pretrained(ppo.model)
    base = AutoModelForCausalLM.from_pretrained(trained.step("sft").model)
    assert merged.state_dict().keys() == base.state_dict().keys()
    moved = [k for k, v in merged.state_dict().items() if not torch.equal(v, base.state_dict()[k])]
    assert len(moved) == 2 * 7


def test_a_new_head_comes_from_the_recipes_seed(trained):
    losses = []
    os.environ["HFLLM_FORCE"] = "reward"
    for other in (3, 4):
        torch.manual_seed(other)  # whatever ran before in this process
        trained.run("reward", "reward.trainer.max_steps=1")
        losses.append(trained.losses("reward"))
    assert losses[0] == losses[1]


def test_a_score_head_of_another_size_is_refused(trained):
    base = trained.step("pretrain").model
    five = AutoModelForSequenceClassification.from_pretrained(base, num_labels=5)
    five.save_pretrained(trained.folder / "five")
    AutoTokenizer.from_pretrained(base).save_pretrained(trained.folder / "five")
    with pytest.raises(ValueError, match=r"reward.init: the weights in .*five have other shapes"):
        trained.run("reward", f"reward.init={trained.folder / 'five'}")


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*save_embedding_layers.*")
def test_an_adapter_on_tied_embeddings_leaves_the_model_that_was_trained(trained):
    lora = "sft.peft={r: 4, target_modules: [q_proj, embed_tokens], lora_alpha: 64}"
    sft = trained.run("sft", lora, "sft.trainer.learning_rate=0.03")
    assert UNTIED in Manifest.read(sft.manifest).notes
    merged = AutoModelForCausalLM.from_pretrained(sft.model)
    assert not merged.config.tie_word_embeddings
    own = "reward.peft={r: 4, target_modules: [q_proj, embed_tokens]}"  # and it can be trained on
    trained.run("reward", lora, "sft.trainer.learning_rate=0.03", own)
    with pytest.raises(ValueError, match=r"sft.peft.target_modules: .*modules_to_save: \[lm_head"):
        trained.run("sft", "sft.peft={target_modules: [q_proj, lm_head]}")


def test_an_unknown_key_of_peft_is_told(trained):
    with pytest.raises(ValueError, match="sft.peft.rank: no key of peft.LoraConfig"):
        trained.run("sft", "sft.peft={rank: 4}")


def test_fsdp_that_would_silently_be_left_out_is_refused(monkeypatch):
    check_engine(SimpleNamespace(is_fsdp_enabled=False))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_engine(SimpleNamespace(is_fsdp_enabled=True))
    with pytest.raises(ValueError, match="silently trains without it"):
        check_engine(SimpleNamespace(is_fsdp_enabled=False))
