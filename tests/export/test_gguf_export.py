"""An exported GGUF file is the model: read back, its logits, tokens, template and stops are."""

import json

import gguf
import numpy as np
import pytest
import torch
from export_models import make, save
from transformers import AutoModelForCausalLM

from hfllm.export.gguf_tokenizer import probes
from hfllm.inference.load import load_model
from hfllm.inference.prompts import stop_ids
from hfllm.modeling.gguf import import_gguf, read_gguf
from hfllm.tokenization.encode import encode_texts

IDS = torch.randint(7, 300, (2, 64), generator=torch.Generator().manual_seed(0))
ROPE = {"rope_theta": 5000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
MODELS = {
    "llama": {},
    "untied": {"tie_word_embeddings": False},
    "tied": {"tie_word_embeddings": True},
    "other head size": {"head_dim": 32},
    "every head its key": {"num_key_value_heads": 4},
    "rows to spare": {"rows": 384},
    "linear": {"rope_parameters": ROPE | {"rope_type": "linear", "factor": 2.0}},
    "llama3": {"rope_parameters": ROPE | LLAMA3},
    "yarn": {"rope_parameters": ROPE | YARN},
    "yarn, attention": {"rope_parameters": ROPE | YARN | {"attention_factor": 0.7}},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    # transformers reads any tokenizer beside a qwen2 model as Qwen's, with one token more
    "qwen2": {"model_type": "qwen2", "rows": 384},
    "qwen2, tied": {"model_type": "qwen2", "rows": 384, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", "head_dim": 32},
}  # fmt: skip


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("kind", MODELS)
def test_read_back_in_float32_its_logits_are_the_models(tmp_path, tokenizer, export, kind):
    model = make(tokenizer, **MODELS[kind])
    path = tmp_path / "a.gguf"
    said = export(save(tmp_path / "model", model, tokenizer), "gguf", path, "--dtype", "f32")
    assert "read back: it is the model in f32" in said and "100% of the most likely" in said
    found, _ = read_gguf(path)
    torch.testing.assert_close(logits(found.eval()), logits(model), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_weights_of_each_type_are_the_models_rounded(tmp_path, folder, export, dtype):
    path = tmp_path / "a.gguf"
    export(folder, "gguf", path, "--dtype", dtype)
    stored = {t.name: t for t in gguf.GGUFReader(path).tensors}
    kinds = {name: tensor.tensor_type.name for name, tensor in stored.items()}
    assert kinds["output_norm.weight"] == "F32"
    assert kinds["blk.0.ffn_down.weight"] == dtype.upper()
    assert kinds["token_embd.weight"] == (dtype.upper() if dtype[0] != "q" else "Q8_0")
    original = load_model(folder)[0].state_dict()
    found = read_gguf(path)[0].state_dict()
    step = {"f16": 2**-11, "bf16": 2**-8, "q8_0": 1 / 127, "q5_1": 1 / 15, "q5_0": 1 / 15,
            "q4_1": 1 / 7, "q4_0": 1 / 7}[dtype]  # fmt: skip
    for name, weight in original.items():
        assert (found[name] - weight).abs().max() <= step * weight.abs().max(), name


def test_transformers_own_reading_gives_the_same_logits(tmp_path, folder, export):
    export(folder, "gguf", tmp_path / "a.gguf", "--dtype", "f32")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32)
    torch.testing.assert_close(logits(theirs), logits(load_model(folder)[0]), atol=2e-4, rtol=1e-4)


def test_a_file_of_the_file_holds_the_same_bytes(tmp_path, folder, export, monkeypatch):
    monkeypatch.setenv("HFLLM_CACHE", str(tmp_path / "cache"))
    export(folder, "gguf", tmp_path / "a.gguf")
    export(tmp_path / "a.gguf", "gguf", tmp_path / "b.gguf")
    first, second = (gguf.GGUFReader(tmp_path / f"{name}.gguf") for name in "ab")
    assert [t.name for t in first.tensors] == [t.name for t in second.tensors]
    for one, other in zip(first.tensors, second.tensors, strict=True):
        assert np.array_equal(one.data, other.data), one.name


def test_tokens_template_and_stops_come_back(tmp_path, folder, export, tokenizer):
    export(folder, "gguf", tmp_path / "a.gguf")
    import_gguf(tmp_path / "a.gguf", tmp_path / "back")
    model, theirs = load_model(tmp_path / "back")
    assert theirs.chat_template == tokenizer.chat_template
    texts = [*probes(200, seed=3), "<|end|> stays text"]
    assert encode_texts(theirs, texts) == encode_texts(tokenizer, texts)
    assert theirs("a")["input_ids"] == tokenizer("a")["input_ids"]  # bos before it
    assert theirs("x<|end|>")["input_ids"] == tokenizer("x<|end|>")["input_ids"]
    assert stop_ids(model, theirs) == stop_ids(*load_model(folder)) == {2, 6}
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    found = {key: fields[f"tokenizer.ggml.{key}"].contents() for key in (
        "pre", "bos_token_id", "eos_token_id", "eot_token_id", "padding_token_id", "add_bos_token",
    )}  # fmt: skip
    assert found == {"pre": "dbrx", "bos_token_id": 1, "eos_token_id": 2, "eot_token_id": 6,
                     "padding_token_id": 0, "add_bos_token": True}  # fmt: skip


def test_rows_without_a_token_are_unused(tmp_path, tokenizer, export):
    folder = save(tmp_path / "model", make(tokenizer, rows=384), tokenizer)
    export(folder, "gguf", tmp_path / "a.gguf")
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    types = fields["tokenizer.ggml.token_type"].contents()
    assert len(types) == 384 and set(types[320:]) == {5}
    assert types[:7] == [3] * 7 and set(types[7:320]) == {1}


def test_a_window_of_attention_bounds_the_context(tmp_path, tokenizer, export):
    model = make(tokenizer, "mistral", sliding_window=32)
    said = export(save(tmp_path / "model", model, tokenizer), "gguf", tmp_path / "a.gguf")
    assert "the file's context is 32 of 96 positions" in said
    assert gguf.GGUFReader(tmp_path / "a.gguf").fields["llama.context_length"].contents() == 32


def test_a_step_of_a_run_names_its_model(tmp_path, tokenizer, export):
    step = tmp_path / "runs" / "r" / "sft"
    save(step / "model", make(tokenizer), tokenizer)
    (step / "manifest.json").write_text(json.dumps({"chat": True}))
    said = export(step, "gguf", tmp_path / "out")
    assert (tmp_path / "out" / "sft-F16.gguf").is_file()
    assert "ollama create sft-f16 -f" in said
