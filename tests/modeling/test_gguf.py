"""GGUF files: imported as the model they hold, and refused in one line where they are no use."""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import CliRunner

from hfllm.cli import app
from hfllm.inference.load import load_model
from hfllm.modeling.gguf import import_gguf
from hfllm.modeling.gguf_header import read_header
from hfllm.modeling.gguf_imports import as_folder
from hfllm.runs.preflight import preflight
from tiny import load_recipe

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def permuted(weight, heads):
    """llama.cpp pairs neighbouring dimensions in its rotary embedding, transformers halves."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def write(path, model, tokenizer, architecture="llama", with_tokenizer=True, split="gpt-2", **more):
    writer = gguf.GGUFWriter(str(path), architecture)
    config = model.config
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_organization("nobody")
    writer.add_file_type(0)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if with_tokenizer:
        vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())
        special = {t["content"] for t in vocabulary["added_tokens"]}
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(split)
        writer.add_token_list(tokens)
        writer.add_token_types([3 if t in special else 1 for t in tokens])
        writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
        writer.add_add_bos_token(True)
        writer.add_bos_token_id(tokenizer.bos_token_id)
        writer.add_eos_token_id(tokenizer.eos_token_id)
        writer.add_pad_token_id(tokenizer.pad_token_id)
        writer.add_chat_template(tokenizer.chat_template)
    for key, value in more.items():
        writer.add_uint16(key.replace("_", "."), value)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        array = tensor.numpy()
        if "attn_q" in name or "attn_k" in name:
            array = permuted(array, config.num_attention_heads)
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture()
def file(tmp_path, llama, bpe):
    return write(tmp_path / "tiny.gguf", llama, bpe)


def test_the_folder_is_the_model_in_the_file(file, tmp_path, llama, bpe):
    assert import_gguf(file, tmp_path / "out")
    model, tokenizer = load_model(tmp_path / "out")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="tiny.gguf", dtype=torch.float32
    )
    with torch.no_grad():
        logits = model(ids).logits
        assert torch.equal(logits, theirs(ids).logits)
        torch.testing.assert_close(logits, llama.eval()(ids).logits)
    text = "Person 7 is a baker who lives in Oakham. é 🙂\n\n  x"
    assert tokenizer(text)["input_ids"] == bpe(text)["input_ids"]
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert tokenizer.chat_template == bpe.chat_template
    stops = GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id
    assert bpe.eos_token_id in (stops if isinstance(stops, list) else [stops])
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())


def test_the_manifest_says_where_it_comes_from(file, tmp_path):
    import_gguf(file, tmp_path / "out", "bfloat16")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["file"] == "tiny.gguf"
    assert len(manifest["sha256"]) == 64
    known = {"quantization": "F32", "license": "apache-2.0", "source": "nobody", "name": "Tiny"}
    assert manifest.items() >= known.items()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16


def test_a_second_import_does_nothing_and_another_is_refused(file, tmp_path):
    out = tmp_path / "out"
    assert import_gguf(file, out)
    made = (out / "model.safetensors").stat().st_mtime_ns
    assert not import_gguf(file, out)
    assert (out / "model.safetensors").stat().st_mtime_ns == made
    with pytest.raises(ValueError, match="holds something else"):
        import_gguf(file, out, "bfloat16")


def test_bad_files_get_one_line(file, tmp_path, llama, bpe, monkeypatch):
    whole = file.read_bytes()
    texts = {
        "text.gguf": b"hello",
        "head.gguf": whole[:5000],
        "cut.gguf": whole[: len(whole) - 40_000],
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    write(tmp_path / "part.gguf", llama, bpe, split_count=3, split_no=1)
    write(tmp_path / "other.gguf", llama, bpe, architecture="rwkv6")
    write(tmp_path / "mute.gguf", llama, bpe, with_tokenizer=False)
    write(tmp_path / "odd.gguf", llama, bpe, split="chatglm-bpe")
    messages = {
        "tiny.ggfu": "did you mean .*tiny.gguf",
        "text.gguf": "is no GGUF file: it starts with b'hell'",
        "head.gguf": "truncated or damaged",
        "cut.gguf": "truncated or damaged",
        "part.gguf": "part 2 of 3",
        "other.gguf": "cannot read the architecture 'rwkv6'",
        "mute.gguf": "no tokenizer inside",
        "odd.gguf": "splits text in the way 'chatglm-bpe'",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message) as error:
            import_gguf(tmp_path / name, tmp_path / "out")
        assert "\n" not in str(error.value)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="GB free"):
        import_gguf(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(file, tmp_path):
    result = CliRunner().invoke(app, ["import", str(file), str(tmp_path / "out")])
    assert result.exit_code == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()
    result = CliRunner().invoke(app, ["import", str(tmp_path / "none.gguf"), "x"])
    assert result.exit_code == 1


def test_an_import_that_lost_a_file_is_no_import(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HFLLM_CACHE", str(tmp_path / "cache"))
    for folder, again in (
        (Path(as_folder(str(file))), lambda: as_folder(str(file))),
        (tmp_path / "out", lambda: import_gguf(file, tmp_path / "out")),
    ):
        again()
        weights = folder / "model.safetensors"
        size = f"{weights.stat().st_size:,}"
        again()  # whole: taken as it is
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(ValueError, match=f"{size} were written when tiny.gguf was imported"):
            again()
        weights.unlink()
        with pytest.raises(ValueError, match="model.safetensors has 0 bytes, .* remove the folder"):
            again()


def test_verbs_and_recipes_take_the_file_itself(file, trained, monkeypatch, capsys):
    monkeypatch.setenv("HFLLM_CACHE", "cache")
    model, _ = load_model("tiny.gguf")
    assert model.config.hidden_size == 32
    assert "importing tiny.gguf once" in capsys.readouterr().out
    assert as_folder("tiny.gguf") == as_folder("tiny.gguf")
    assert "importing" not in capsys.readouterr().out
    shown = CliRunner().invoke(app, ["tokens", "a baker", "--tokenizer", "tiny.gguf"]).output
    assert "tokens, 7 bytes" in shown
    Path("text.gguf").write_bytes(b"hello")
    with pytest.raises(ValueError, match="sft.init: text.gguf is no GGUF file"):
        preflight(load_recipe("recipe.yaml", ["sft.init=text.gguf"]), ["sft"])
    step = trained.run("sft", "sft.init=tiny.gguf", "sft.trainer.max_steps=1")
    assert AutoTokenizer.from_pretrained(step.model).chat_template
    assert read_header(file).parameters == sum(p.numel() for p in model.parameters())
