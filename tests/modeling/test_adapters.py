"""A merged adapter is the trained model, whatever it adapts, with a tied head and without."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from hfllm.modeling import adapters
from hfllm.modeling.adapters import UNTIED, merge_adapter

LAYERS = ["q_proj", "v_proj"]
BOTH = ["embed_tokens", "lm_head"]
WHAT = {
    "all-linear": {"target_modules": "all-linear"},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "head and embeddings": {"target_modules": ["q_proj", *BOTH]},
    "tied by peft": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "whole embeddings": {"target_modules": LAYERS, "modules_to_save": ["embed_tokens"]},
    "whole head": {"target_modules": LAYERS, "modules_to_save": ["lm_head"]},
    "both whole": {"target_modules": LAYERS, "modules_to_save": BOTH},
    "tokens": {"target_modules": LAYERS, "trainable_token_indices": {"embed_tokens": [60, 61]}},
    "dora": {"target_modules": LAYERS, "use_dora": True},
}
IDS = torch.randint(3, 64, (2, 10), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request, tmp_path_factory):
    """A folder of a tiny Llama with large weights."""
    folder = tmp_path_factory.mktemp("base")
    config = AutoConfig.for_model(
        "llama", vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, tie_word_embeddings=request.param,
        initializer_range=0.2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def trained(base, steps=5, **what):
    """A peft model after a few steps of Adam."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **what))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    for _ in range(steps):
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def saved(model, folder):
    model.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*save_embedding_layers.*")
@pytest.mark.parametrize("what", WHAT)
def test_the_merged_folder_is_the_trained_model(base, tmp_path, what):
    model = trained(base, **WHAT[what])
    with torch.no_grad():
        live = model(input_ids=IDS).logits
    notes = merge_adapter(model, saved(model, tmp_path / "model"), tmp_path / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=IDS).logits, live, atol=1e-4, rtol=1e-4)
    adapted = what in ("head", "embeddings", "head and embeddings", "tied by peft")
    tied = AutoConfig.from_pretrained(base).tie_word_embeddings
    assert notes == ([UNTIED] if tied and adapted else [])


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*save_embedding_layers.*")
@pytest.mark.parametrize("sharded", [False, True])
def test_a_merge_that_gives_another_model_is_refused(base, tmp_path, monkeypatch, sharded):
    tied = AutoConfig.from_pretrained(base).tie_word_embeddings
    model = trained(base, **WHAT["embeddings"])
    monkeypatch.setattr(adapters, "_untie", lambda _: False)
    where = saved(model, tmp_path / "model"), tmp_path / "adapter", sharded
    if not tied:
        assert merge_adapter(model, *where) == []
        return
    with pytest.raises(ValueError, match="model: the merged model is not the trained one: .*peft"):
        merge_adapter(model, *where)


def test_a_model_without_an_adapter_is_left_alone(base, tmp_path):
    assert merge_adapter(object(), tmp_path, tmp_path / "adapter") == []
    assert list(tmp_path.iterdir()) == []
