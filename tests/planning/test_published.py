"""The arithmetic against trainings whose figures were published; each with its source."""

import pytest

from hfllm.planning.compute import flops_per_token, money, seconds
from hfllm.planning.devices import DEVICES
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import ModelSize
from hfllm.training.sizes import arithmetic_size

LLAMA_405B = {  # meta-llama/Llama-3.1-405B, config.json
    "model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "vocab_size": 128256,
    "num_hidden_layers": 126, "num_attention_heads": 128, "num_key_value_heads": 8,
}  # fmt: skip
SMOLLM3 = {  # HuggingFaceTB/SmolLM3-3B, config.json
    "model_type": "smollm3", "hidden_size": 2048, "intermediate_size": 11008, "vocab_size": 128256,
    "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4,
}  # fmt: skip
OLMO2 = {  # allenai/OLMo-2-1124-7B, OLMo-2-1124-13B, OLMo-2-0325-32B, config.json
    "7B": {"model_type": "olmo2", "hidden_size": 4096, "intermediate_size": 11008,
           "vocab_size": 100352, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13B": {"model_type": "olmo2", "hidden_size": 5120, "intermediate_size": 13824,
            "vocab_size": 100352, "num_hidden_layers": 40, "num_attention_heads": 40},
    "32B": {"model_type": "olmo2", "hidden_size": 5120, "intermediate_size": 27648,
            "vocab_size": 100352, "num_hidden_layers": 64, "num_attention_heads": 40,
            "num_key_value_heads": 8},
}  # fmt: skip
# nanochat's d20: 20 layers of width 1280, an MLP without a gate (8 H^2 a layer), untied, no biases
NANOCHAT_D20 = ModelSize(
    parameters=20 * 12 * 1280**2 + 2 * 65536 * 1280, trained=20 * 12 * 1280**2 + 2 * 65536 * 1280,
    layers=20, hidden=1280, mlp=5120, keys=1280, vocabulary=65536, attention=1280, heads=10,
    matmul=20 * 12 * 1280**2 + 65536 * 1280, tied=False,
)  # fmt: skip


def row(tokens):
    return RowShape(tokens=tokens, scored=tokens)


def test_llama_3_405b_took_3_8e25_flops():
    """Grattafiori et al. 2024 (arXiv:2407.21783), section 1: 3.8e25 FLOPs on 15.6T tokens.

    Their figure is 6 N D; attention at 8,192 tokens is a twelfth more.
    """
    size = arithmetic_size(LLAMA_405B)
    assert size.parameters == pytest.approx(405.9e9, rel=0.001)
    flops = flops_per_token(size, row(8192), 8192)
    assert flops.weights * 15.6e12 == pytest.approx(3.8e25, rel=0.02)
    assert flops.total * 15.6e12 == pytest.approx(4.1e25, rel=0.02)


@pytest.mark.parametrize(
    ("name", "billions", "trillions", "published"),
    [("7B", 7.30, 4.05, 1.8e23), ("13B", 13.7, 5.6, 4.6e23), ("32B", 32.2, 6.6, 1.3e24)],
)
def test_olmo_2_took_as_published(name, billions, trillions, published):
    """OLMo team 2025 (arXiv:2501.00656), the table of FLOPs: 6 N D over both stages."""
    size = arithmetic_size(OLMO2[name])
    assert size.parameters == pytest.approx(billions * 1e9, rel=0.01)
    flops = flops_per_token(size, row(4096), 4096).weights * trillions * 1e12
    assert flops == pytest.approx(published, rel=0.08)  # they count the embedding table too


def test_smollm3_took_384_h100_for_24_days():
    """Hugging Face 2025 (the blog post on SmolLM3): 384 H100, 24 days, 11.2T tokens of 4,096.

    MFU 29.4% and 14,000 tokens a second and GPU: the speed that the post and its training logs
    name.
    """
    size = arithmetic_size(SMOLLM3)
    assert size.parameters == pytest.approx(3.08e9, rel=0.01)
    flops = flops_per_token(size, row(4096), 4096).total
    took = seconds(flops * 11.2e12, DEVICES["h100"], 384, mfu=0.294)
    assert took / 86400 == pytest.approx(24, rel=0.1)
    a_second = seconds(flops, DEVICES["h100"], 1, mfu=0.294)
    assert 1 / a_second == pytest.approx(14_000, rel=0.1)


def test_nanochat_d20_takes_three_hours_of_pretraining():
    """nanochat's own report (github.com/karpathy/nanochat, discussion 1, October 2025).

    560,988,160 parameters, 3.491758e9 FLOPs a token at 2,048, 11,219,763,200 tokens, 3.917670e19
    FLOPs; 3 h 51 min for all of its stages on 8 H100 at 24 dollars an hour, pretraining most of it.
    """
    assert NANOCHAT_D20.parameters == 560_988_160
    flops = flops_per_token(NANOCHAT_D20, row(2048), 2048).total
    assert flops == pytest.approx(3.491758e9, rel=1e-6)
    assert flops * 11_219_763_200 == pytest.approx(3.917670e19, rel=1e-6)
    took = seconds(flops * 11_219_763_200, DEVICES["h100"], 8, mfu=0.48)
    assert took / 3600 == pytest.approx(3.0, rel=0.1)
    assert money(3.85 * 3600, 8, 3.0) == pytest.approx(92.4)
