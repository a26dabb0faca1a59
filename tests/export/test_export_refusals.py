"""What cannot be exported is refused in one line; nothing is written over or half written."""

import json
import shutil

import pytest
import torch
from export_models import make, save
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from hfllm.export import place
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.train import train_tokenizer
from tiny import documents


def test_unknown_words_name_the_nearest(folder, export):
    assert "--to ggfu is none of gguf, folder, vllm, hub. Did you mean: 'gguf'?" in export(
        folder, "ggfu", "x"
    )
    said = export(folder, "gguf", "x.gguf", "--dtype", "q8_1")
    assert "--dtype q8_1 is none of f32, bf16, f16, q8_0" in said and "Did you mean: 'q8_0'" in said
    assert "llama-quantize FILE.gguf OUT.gguf Q4_K_M" in export(
        folder, "gguf", "x.gguf", "--dtype", "Q4_K_M"
    )
    assert "--dtype q8_0 is none of f32, bf16, f16" in export(
        folder, "folder", "x", "--dtype", "q8_0"
    )
    assert "--public is for --to hub" in export(folder, "gguf", "x.gguf", "--public")
    assert "is not PUBLISHER/MODEL" in export(folder, "gguf", "x", "--lm-studio", "me")
    assert "no adapter beside it" in export(folder, "folder", "x", "--adapter", "apart")


@pytest.mark.parametrize("to", ["gguf", "folder"])
def test_what_is_there_is_kept_unless_forced(tmp_path, folder, export, to):
    out = tmp_path / ("a.gguf" if to == "gguf" else "a")
    export(folder, to, out)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert "exists: name another, or replace it with --force" in export(folder, to, out)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    export(folder, to, out, "--force")
    assert sorted(before) == sorted(tmp_path.rglob("*"))  # nothing is left beside it


@pytest.mark.parametrize("to", ["gguf", "folder"])
def test_too_little_room_is_said_with_the_size(tmp_path, folder, export, monkeypatch, to):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: usage)
    out = tmp_path / "out" / ("a.gguf" if to == "gguf" else "a")
    said = export(folder, to, out)
    assert "0.0 GB free" in said and "free some, name another --out" in said
    assert not out.exists() and not list(tmp_path.glob("out/*"))


def test_a_reward_model_is_no_language_model(tmp_path, folder, tokenizer, export):
    reward = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    save(tmp_path / "reward", reward, tokenizer)
    for to, out in (("gguf", "a.gguf"), ("folder", "a")):
        assert "is a reward model" in export(tmp_path / "reward", to, tmp_path / out)


def test_a_damaged_folder_leaves_nothing_behind(tmp_path, folder, export):
    weights = load_file(folder / "model.safetensors")
    changes = {
        "lacks 1 weights, 'model.norm.weight' first": lambda w: w.pop("model.norm.weight"),
        "has 1 weights that its config does not name": lambda w: w.update(odd=torch.ones(2)),
        "model.norm.weight is (2,), by config.json (64,)": lambda w: w.update(
            {"model.norm.weight": torch.ones(2)}
        ),
        "model.norm.weight holds NaN or infinity": lambda w: w["model.norm.weight"].fill_(
            float("nan")
        ),
    }
    for message, change in changes.items():
        broken = {name: tensor.clone() for name, tensor in weights.items()}
        change(broken)
        save_file(broken, folder / "model.safetensors", {"format": "pt"})
        assert message in export(folder, "gguf", tmp_path / "a.gguf")
        assert not list(tmp_path.glob("a.gguf*"))
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    assert "is damaged" in export(folder, "gguf", tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gemma2", "head_dim": 16},
         "GGUF is written for llama, mistral, qwen2, qwen3, not for gemma2"),
        ({"hidden_act": "gelu"}, "hidden_act: gelu, llama.cpp's llama has silu"),
        ({"mlp_bias": True}, "mlp_bias: True"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
         "scales RoPE by dynamic"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4,
                              "beta_fast": 16.0}}, "beta_fast: 16.0 for yarn"),
    ],
)  # fmt: skip
def test_what_llama_cpp_computes_otherwise_is_refused(
    tmp_path, tokenizer, export, changes, message
):
    folder = save(tmp_path / "model", make(tokenizer, **changes), tokenizer)
    assert message in export(folder, "gguf", tmp_path / "a.gguf")


def bpe(**parts):
    """A byte-level tokenizer, with parts of its own."""
    trained = train_tokenizer((row["text"] for row in documents()), TokenizerConfig(vocab_size=320))
    backend = Tokenizer.from_str(trained.backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|eos|>", pad_token="<|pad|>"
    )


CAMEL = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(r"\p{Lu}?\p{Ll}+|[^\p{L}]+|\p{Lu}+"), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"pre_tokenizer": CAMEL}, "splits text in a way that is not one of llama.cpp's"),
        ({"normalizer": normalizers.Lowercase()}, "normalizes text (Lowercase)"),
    ],
)
def test_a_tokenizer_that_llama_cpp_has_not_is_refused(tmp_path, export, parts, message):
    tokenizer = bpe(**parts)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    folder = save(tmp_path / "model", make(tokenizer), tokenizer)
    assert message in export(folder, "gguf", tmp_path / "a.gguf")
    assert "--to folder" in export(folder, "gguf", tmp_path / "a.gguf")


def test_a_sentencepiece_tokenizer_is_named(tmp_path, export):
    vocabulary = {f"<0x{i:02X}>": 3 + i for i in range(256)}
    vocabulary |= {"<unk>": 0, "<s>": 1, "</s>": 2}
    backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    folder = save(tmp_path / "model", make(tokenizer), tokenizer)
    said = export(folder, "gguf", tmp_path / "a.gguf")
    assert "its tokenizer is SentencePiece" in said and "convert_hf_to_gguf.py" in said


def test_weights_beyond_float16_ask_for_bfloat16(tmp_path, tokenizer, export):
    model = make(tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e5
    folder = save(tmp_path / "model", model, tokenizer)
    assert "holds 1e+05, and float16 ends at 65,504: take --dtype bf16" in export(
        folder, "gguf", tmp_path / "a.gguf"
    )
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"
