import copy
import io
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from hfllm.inference.chat import Terminal, chat_loop
from hfllm.inference.load import is_chat_model, load_model, load_reward


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run" / "sft" / "model")


def test_loads_the_folder_or_its_step_in_float32_on_cpu(folder, model):
    prompt = torch.arange(10, 30)[None]
    for place in (folder, folder.parent):
        loaded, tokenizer = load_model(place, device="cpu")
        assert loaded.dtype == torch.float32 and not loaded.training
        assert torch.equal(loaded(prompt).logits, model(prompt).logits)
        assert tokenizer.chat_template


def test_a_missing_folder_names_its_neighbour(folder):
    run = folder.parent.parent
    with pytest.raises(ValueError, match=r"did you mean .*demo\d*/sft/model\?$"):
        load_model(run / "stf" / "model")
    with pytest.raises(ValueError, match=r"no folder .*holds sft$"):
        load_model(run / "quite another name")


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="neither config.json nor model/config.json") as error:
        load_model(tmp_path / "empty")
    assert "\n" not in str(error.value)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        load_model(tmp_path / "file")


def test_an_adapter_is_loaded_with_its_base(folder, model, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    base = copied(folder, tmp_path)
    place = tmp_path / "adapter"
    adapted = peft.get_peft_model(load_model(base)[0], peft.LoraConfig(task_type="CAUSAL_LM"))
    with torch.no_grad():
        adapted.base_model.model.model.layers[0].self_attn.q_proj.lora_B.default.weight.add_(0.3)
    adapted.save_pretrained(place)
    tokenizer.save_pretrained(place)
    prompt = torch.arange(10, 30)[None]
    loaded, _ = load_model(place, device="cpu")
    torch.testing.assert_close(loaded(prompt).logits, adapted(prompt).logits)
    assert not torch.allclose(loaded(prompt).logits, model(prompt).logits)


def test_another_models_tokenizer_is_refused(folder, tokenizer, tmp_path):
    place = copied(folder, tmp_path)
    grown = type(tokenizer).from_pretrained(place)
    grown.add_tokens(["<|one more|>"])
    grown.save_pretrained(place)
    with pytest.raises(ValueError, match=r"tokenizer has 321 tokens, the embedding 320 rows"):
        load_model(place)


def test_missing_weights_are_not_filled_with_noise(folder, tmp_path):
    with pytest.raises(ValueError, match=r"lacks 1 weights, 'score.weight'"):
        load_reward(folder)
    two = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    place = copied(folder, tmp_path)
    two.save_pretrained(place)
    with pytest.raises(ValueError, match="has 2 labels"):
        load_reward(place)


def test_damaged_weights_are_one_line(folder, tmp_path):
    place = copied(folder, tmp_path)
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot load") as error:
        load_model(place)
    assert "\n" not in str(error.value)


def test_a_diverged_model_is_refused(folder, model, tmp_path):
    place = copied(folder, tmp_path)
    broken = copy.deepcopy(model)
    broken.model.norm.weight.data[3] = torch.nan
    broken.save_pretrained(place)
    with pytest.raises(ValueError, match="norm.weight holds NaN or infinity"):
        load_model(place)


def test_pad_equal_to_eos_is_said(folder, tokenizer, tmp_path, capsys):
    place = copied(folder, tmp_path)
    other = type(tokenizer).from_pretrained(place)
    other.pad_token = other.eos_token
    other.save_pretrained(place)
    load_model(place)
    said = capsys.readouterr().err
    assert "pad token is eos; nothing to do unless" in said and "then train it on" in said


def test_a_pretraining_step_is_a_base_model_though_it_has_a_template(folder, tmp_path):
    place = copied(folder, tmp_path)
    assert is_chat_model(place) and is_chat_model(place.parent)
    for stage, chat in (("pretrain", False), ("sft", True)):
        (place.parent / "manifest.json").write_text(json.dumps({"stage": stage}))
        assert is_chat_model(place) is chat


def test_a_reward_model_is_no_language_model_though_its_head_is_tied(trained, capfd):
    """No weight of a language model is missing there: transformers prints a table and goes on."""
    trained.run("reward")
    reward = trained.step("reward").model
    words = "is a reward model .*ForSequenceClassification.* name a language model"
    with pytest.raises(ValueError, match=words):
        load_model(reward)
    with pytest.raises(ValueError, match=words):
        chat_loop([reward], terminal=Terminal(source=io.StringIO()))
    copy = shutil.copytree(reward, "copied")
    with pytest.raises(ValueError, match="sft.init: copied is a reward model"):
        trained.run("sft", f"sft.init={copy}")
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


def test_weights_that_are_left_out_are_said(folder, tmp_path, capsys):
    place = copied(folder, tmp_path)
    weights = load_file(place / "model.safetensors")
    weights["vision.weight"] = torch.ones(2)
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    load_model(place)
    said = "1 weights are not of a LlamaForCausalLM and are left out, vision.weight first"
    assert said in capsys.readouterr().err
