"""Keys of a GGUF header that transformers passes over: the source's logits, or a refusal."""

import json
import math

import gguf
import numpy as np
import pytest
import torch
from test_gguf import permuted
from transformers import AutoConfig, AutoModelForCausalLM

from hfllm.modeling.build import build_model
from hfllm.modeling.gguf import import_gguf
from hfllm.modeling.gguf_rope import llama3_parameters
from tiny import MODEL

SCALING = "rope.scaling."
NORM_OFFSET = {"gemma2": 1.0}  # llama.cpp holds Gemma's norms with the 1 added


def llama3_factors(width, theta, factor, old, low=1.0, high=4.0):
    """As llama.cpp's converter writes them: divisors of the frequencies."""
    out = []
    for i in range(0, width, 2):
        wave = 2 * math.pi * theta ** (i / width)
        smooth = (old / wave - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        out.append(1.0 if wave < old / high else factor if wave > old / low else between)
    return np.array(out, np.float32)


def write(path, model, tokenizer, header=None, tensors=None):
    """A model as llama.cpp lays it out, with more keys of the architecture and more tensors."""
    config, name = model.config, model.config.model_type
    writer = gguf.GGUFWriter(str(path), name)
    keys = {
        "context_length": config.max_position_embeddings, "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads, "vocab_size": config.vocab_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
    }  # fmt: skip
    kinds = {str: writer.add_string, float: writer.add_float32, bool: writer.add_bool}
    kinds |= {int: writer.add_uint32, list: writer.add_array}
    for key, value in (keys | (header or {})).items():
        kinds[type(value)](f"{name}.{key}", value)
    special = {token.content for token in tokenizer.added_tokens_decoder.values()}
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    arch = {value: key for key, value in gguf.MODEL_ARCH_NAMES.items()}[name]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        ours, array = names.get_name(key, try_suffixes=(".weight", ".bias")), tensor.numpy()
        if name == "llama" and ("attn_q" in ours or "attn_k" in ours):
            heads = "num_attention_heads" if "attn_q" in ours else "num_key_value_heads"
            array = permuted(array, getattr(config, heads))
        array = array + NORM_OFFSET.get(name, 0.0) * ("norm" in ours)
        writer.add_tensor(ours, np.ascontiguousarray(array, np.float32))
    for key, array in (tensors or {}).items():
        writer.add_tensor(key, np.asarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def source(bpe, seed=0, **changes):
    """A model with large weights, so that what is changed shows in the logits."""
    sizes = {"max_position_embeddings": 256, "initializer_range": 0.3, "hidden_size": 64}
    return build_model({**MODEL, **sizes, **changes}, bpe, 64, seed).eval()


def logits(model):
    ids = torch.randint(7, 300, (2, 200), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(input_ids=ids).logits


def imported(path, model, bpe, tmp_path, **more):
    import_gguf(write(path, model, bpe, **more), tmp_path / "out")
    return AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)


BASE = {"rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, **BASE}
TYPE = {f"{SCALING}type": "yarn", f"{SCALING}factor": 4.0, f"{SCALING}original_context_length": 64}
ROPES = {
    "default": (BASE | {"rope_type": "default"}, {}),
    "none": (BASE | {"rope_type": "default"}, {f"{SCALING}type": "none"}),
    "linear": ({"rope_type": "linear", "factor": 4.0, **BASE},
               {f"{SCALING}type": "linear", f"{SCALING}factor": 4.0}),
    "linear, old key": ({"rope_type": "linear", "factor": 4.0, **BASE}, {"rope.scale_linear": 4.0}),
    "yarn": (YARN, TYPE | {f"{SCALING}finetuned": True}),
    "yarn, betas": (YARN | {"beta_fast": 16.0, "beta_slow": 2.0},
                    TYPE | {f"{SCALING}yarn_beta_fast": 16.0, f"{SCALING}yarn_beta_slow": 2.0}),
    "yarn, attention": (YARN | {"attention_factor": 0.5 * (0.1 * math.log(4.0) + 1)},
                        TYPE | {f"{SCALING}attn_factor": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("kind", ROPES)
def test_scaling_in_the_header(bpe, tmp_path, kind):
    rope, header = ROPES[kind]
    model = source(bpe, rope_parameters=rope)
    found = imported(tmp_path / "a.gguf", model, bpe, tmp_path, header=header)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)
    if "rope_type: default" not in str(rope) and rope["rope_type"] != "default":
        plain = source(bpe, rope_parameters=BASE | {"rope_type": "default"})
        assert (logits(plain) - logits(model)).abs().max() > 0.01


@pytest.mark.parametrize(("factor", "old"), [(8.0, 64), (32.0, 64), (4.0, 1000)])
def test_llama_3s_factors_in_a_tensor(bpe, tmp_path, factor, old):
    rope = {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": old, **BASE,
    }  # fmt: skip
    model = source(bpe, rope_parameters=rope)
    tensor = {"rope_freqs.weight": llama3_factors(32, 10000.0, factor, old)}
    found = imported(tmp_path / "a.gguf", model, bpe, tmp_path, tensors=tensor)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention_factor", [None, 1.19])
def test_phi_3s_factors_for_short_and_long_contexts(bpe, tmp_path, attention_factor):
    short, long = (np.linspace(1, most, 16).round(3) for most in (1.5, 20))
    rope = {
        "rope_type": "longrope", "short_factor": short.tolist(), "long_factor": long.tolist(),
        "original_max_position_embeddings": 64, **BASE,
    }  # fmt: skip
    header = {f"{SCALING}original_context_length": 64, "rope.dimension_count": 32}
    if attention_factor:
        rope["attention_factor"] = header[f"{SCALING}attn_factor"] = attention_factor
    sizes = {"original_max_position_embeddings": 64}
    model = source(bpe, model_type="phi3", rope_parameters=rope, **sizes)
    tensors = {"rope_factors_long.weight": long, "rope_factors_short.weight": short}
    found = imported(tmp_path / "a.gguf", model, bpe, tmp_path, header=header, tensors=tensors)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)
    assert (found.config.bos_token_id, found.config.eos_token_id) == (1, 2)  # not Phi-3's
    assert found.config.pad_token_id is None
    ids = torch.arange(7, 47)[None]  # within the old context: the short factors
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "factor", "theta"), [(128, 8, 500000), (64, 32, 500000)])
def test_the_published_llamas_parameters_are_found_again(width, factor, theta):
    """3.1 and 3.2."""
    found = llama3_parameters(llama3_factors(width, theta, factor, 8192).astype(float), theta)
    assert found == {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    assert llama3_parameters(np.linspace(1, 3, 16), theta) is None


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"model_type": "qwen3", "head_dim": 16}, {"attention.key_length": 16}),
        ({"model_type": "qwen2", "rms_norm_eps": 0.1}, {}),
        ({"model_type": "gemma2", "head_dim": 32, "final_logit_softcapping": 2.0,
          "attn_logit_softcapping": 3.0, "sliding_window": 16},
         {"attention.key_length": 32, "attention.value_length": 32,
          "attention.sliding_window": 16, "final_logit_softcapping": 2.0,
          "attn_logit_softcapping": 3.0}),
    ],
    ids=["qwen3's size of heads", "qwen2", "gemma2's caps and window"],
)  # fmt: skip
def test_what_the_header_says_of_other_models(bpe, tmp_path, changes, header):
    model = source(bpe, attn_implementation="eager", **changes)
    found = imported(tmp_path / "a.gguf", model, bpe, tmp_path, header=header)
    found.set_attn_implementation("eager")
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


SILENT = {
    "attention.key_length": 32, "attention.sliding_window": 4096, "rope.dimension_count": 32,
    "expert_count": 0, "expert_used_count": 0, "attn_logit_softcapping": 0.0,
    "logit_scale": 1.0, "attention.causal": True, "tensor_data_layout": "Meta AI original pth",
}  # fmt: skip


def test_keys_without_effect_are_taken(bpe, tmp_path):
    model = source(bpe)
    found = imported(tmp_path / "a.gguf", model, bpe, tmp_path, header=SILENT)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope.scaling.type", "dynamic"),
        ("rope.scaling.yarn_log_multiplier", 0.1),
        ("rope.freq_base_swa", 1000.0),
        ("rope.dimension_count", 8),
        ("rope.dimension_sections", [1, 2, 3]),
        ("attention.sliding_window", 16),
        ("attention.clamp_kqv", 8.0),
        ("attention.scale", 0.5),
        ("attn_logit_softcapping", 30.0),
        ("final_logit_softcapping", 30.0),
        ("logit_scale", 0.25),
        ("embedding_scale", 12.0),
        ("residual_scale", 0.2),
        ("expert_count", 8),
        ("use_parallel_residual", True),
        ("attention.causal", False),
        ("pooling_type", 2),
        ("something.new", 1),
    ],
)
def test_what_the_config_cannot_say_is_refused_by_its_key(bpe, tmp_path, key, value):
    file = write(tmp_path / "a.gguf", source(bpe), bpe, header={key: value})
    with pytest.raises(ValueError, match=rf"a.gguf: its header says {key}: .* safetensors") as one:
        import_gguf(file, tmp_path / "out")
    assert "\n" not in str(one.value) and not (tmp_path / "out").exists()


def test_sizes_by_layer_that_the_architecture_has_not_are_refused(bpe, tmp_path):
    file = write(tmp_path / "a.gguf", source(bpe), bpe, header={"attention.head_count_kv": [2, 1]})
    with pytest.raises(ValueError, match="a.gguf: .* 'num_key_value_heads' .*2, 1") as one:
        import_gguf(file, tmp_path / "out")
    assert "\n" not in str(one.value)


@pytest.mark.parametrize("name", ["blk.0.attn_q.bias", "blk.0.attn_sinks.weight", "output.bias"])
def test_a_weight_that_no_parameter_takes_is_refused(bpe, tmp_path, name):
    file = write(tmp_path / "a.gguf", source(bpe), bpe, tensors={name: np.ones(64)})
    with pytest.raises(ValueError, match=rf"a.gguf: transformers takes .* weights \({name} first"):
        import_gguf(file, tmp_path / "out")


def test_other_factors_than_llama_3s_are_refused(bpe, tmp_path):
    tensor = {"rope_freqs.weight": np.linspace(1, 3, 16)}
    file = write(tmp_path / "a.gguf", source(bpe), bpe, tensors=tensor)
    with pytest.raises(ValueError, match=r"a.gguf: its tensor rope_freqs.weight scales RoPE"):
        import_gguf(file, tmp_path / "out")


def test_the_largest_gemmas_divide_queries_by_what_no_header_says(bpe):
    from hfllm.modeling.gguf_config import complete_config

    for layers, scalar in ((46, 144), (26, 256)):
        config = AutoConfig.for_model(
            "gemma2", num_hidden_layers=layers, hidden_size=4608, num_attention_heads=32
        )
        complete_config(config, {}, {})
        assert config.query_pre_attn_scalar == scalar
