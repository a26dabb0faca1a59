"""An exported folder is the model: for this transformers, an older one, and with an adapter."""

import json
from pathlib import Path

import pytest
import torch
from export_models import make, save
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from hfllm.inference.load import load_model

IDS = torch.randint(7, 300, (2, 48), generator=torch.Generator().manual_seed(0))
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32, "rope_theta": 5000.0,
}  # fmt: skip


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("to", ["folder", "vllm"])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_its_weights_are_the_models_in_the_type(tmp_path, folder, export, to, dtype):
    said = export(folder, to, tmp_path / "out", "--dtype", dtype)
    assert f"read back: it is the model in {dtype}" in said
    kind = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert made.dtype == kind
    original = load_model(folder)[0].state_dict()
    for name, weight in made.state_dict().items():
        assert torch.equal(weight, original[name].to(kind)), name


def test_stops_template_and_card_are_in_it(tmp_path, folder, export, tokenizer):
    (folder / "generation_config.json").unlink()  # as a training may leave it
    export(folder, "folder", tmp_path / "out")
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == [2, 6]
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == tokenizer.chat_template
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers") and f"# {tmp_path.name}" in card


def test_the_card_of_a_run_is_that_of_its_step(trained, export):
    export("runs/tiny/sft", "folder", "out")
    card = Path("out/README.md").read_text()
    assert "# tiny / sft" in card and "## Training" in card


def test_for_vllm_an_older_transformers_finds_its_keys(tmp_path, tokenizer, export):
    model = make(tokenizer, rope_parameters=LLAMA3)
    export(save(tmp_path / "model", model, tokenizer), "vllm", tmp_path / "out", "--dtype", "f32")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_theta"] == 5000.0 and config["rope_scaling"]["rope_type"] == "llama3"
    assert config["torch_dtype"] == "float32"
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    torch.testing.assert_close(logits(load_model(tmp_path / "out")[0]), logits(model))


@pytest.fixture()
def step(tmp_path, folder, tokenizer):
    """A step that trained an adapter: the merged model, and the adapter beside it."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    step = tmp_path / "sft"
    adapted.save_pretrained(step / "adapter")
    tokenizer.save_pretrained(step / "adapter")
    save(step / "model", adapted.merge_and_unload(), tokenizer)
    return step


@pytest.mark.parametrize("to", ["folder", "gguf"])
def test_an_adapter_alone_is_merged_into_its_base(tmp_path, step, export, to):
    out = tmp_path / ("out.gguf" if to == "gguf" else "out")
    said = export(step / "adapter", to, out, "--dtype", "f32")
    assert "merging the adapter" in said
    if to == "folder":
        merged = logits(load_model(step / "model")[0])
        torch.testing.assert_close(logits(load_model(out)[0]), merged, atol=1e-4, rtol=1e-4)


def test_an_adapter_apart_is_what_peft_loads(tmp_path, step, folder, export):
    said = export(step, "vllm", tmp_path / "out", "--adapter", "apart")
    assert f"vllm serve {folder} --enable-lora --lora-modules out={tmp_path / 'out'}" in said
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = PeftModel.from_pretrained(base, str(tmp_path / "out"))
    expected = logits(load_model(step / "model")[0])
    torch.testing.assert_close(logits(found), expected, atol=1e-4, rtol=1e-4)
    assert not (tmp_path / "out" / "model.safetensors").exists()
