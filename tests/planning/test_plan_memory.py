"""Memory by part: against measured peaks, and by what each strategy shards."""

import pytest

from hfllm.planning.memory import GAPS_ADAPTER, GAPS_FULL, Setup, activation_bytes, memory_of
from hfllm.planning.remedies import remedies
from hfllm.planning.strategy import Strategy
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import GIB, activations, block_bytes
from hfllm.training.sizes import arithmetic_size

SMOL = {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "tie_word_embeddings": True}  # fmt: skip
SMALL = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 704,
         "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 2048,
         "tie_word_embeddings": True}  # fmt: skip
LORA = {"r": 16, "target_modules": "all-linear"}
CHAT, TEXT = RowShape(512, 307, fused=True), RowShape(512, 512)
CPU = Setup(rows=1, half=True, on_gpu=False)
BILLION = arithmetic_size({
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 65536,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": True})  # fmt: skip

# GiB of a whole training step's process, measured on two machines (docs/plan.md, benchmarks.md)
MEASURED = [
    (SMOL, LORA, CHAT, 1, 2.58), (SMOL, LORA, CHAT, 2, 3.31), (SMOL, LORA, CHAT, 4, 4.98),
    (SMOL, LORA, CHAT, 4, 5.03), (SMOL, LORA, CHAT, 16, 14.69), (SMOL, None, CHAT, 1, 3.33),
    (SMOL, None, CHAT, 2, 3.96), (SMOL, None, TEXT, 1, 3.34), (SMOL, None, TEXT, 2, 4.62),
    (SMALL, None, RowShape(256, 256), 8, 0.886),
]  # fmt: skip


@pytest.mark.parametrize(("config", "peft", "row", "rows", "measured"), MEASURED)
def test_a_peak_on_a_cpu_is_within_a_tenth(config, peft, row, rows, measured):
    setup = Setup(rows=rows, half=True, on_gpu=False)
    found = memory_of(arithmetic_size(config, peft), row, setup)
    assert found.peak / GIB == pytest.approx(measured, rel=0.1)


def test_a_peak_on_a_gpu_is_within_a_tenth():
    """135M, 16 rows of 2,048 tokens: 50 GiB allocated on an H100 (docs/benchmarks.md)."""
    setup = Setup(rows=16, half=True)
    found = memory_of(arithmetic_size(SMOL), RowShape(2048, 2048), setup)
    assert found.allocated / GIB == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize("peft", [None, LORA])
@pytest.mark.parametrize("half", [False, True])
def test_activations_are_those_that_a_test_counts(peft, half):
    size = arithmetic_size(SMOL, peft)
    counted = activations(size, 512, block_bytes(size, half), checkpointing=False)
    assert activation_bytes(size, 512, Setup(rows=1, half=half)) == counted
    gaps = GAPS_ADAPTER if peft else GAPS_FULL
    assert activation_bytes(size, 512, Setup(1, half, on_gpu=False)) == int(gaps * counted)


def parts(name, processes=8, **changes):
    setup = Setup(rows=1, half=True, strategy=Strategy(name, processes), **changes)
    return memory_of(BILLION, RowShape(4096, 4096), setup).parts


def test_each_strategy_shards_what_it_says():
    p = BILLION.parameters
    one, ddp, fsdp = parts("one device", 1), parts("DDP"), parts("FSDP2")
    assert (one["weights"], one["optimizer states"]) == (4 * p, 8 * p)
    assert "gradients" not in one  # at the loss they are gone, unless they are accumulated
    assert (ddp["weights"], ddp["gradients"]) == (4 * p, 8 * p)  # gradients and their buckets
    assert fsdp["weights"] == 4 * p // 8
    assert fsdp["optimizer states"] == 8 * p // 8
    zero = {stage: parts(f"ZeRO-{stage}") for stage in (1, 2, 3)}
    assert [zero[n]["weights"] for n in zero] == [2 * p, 2 * p, 2 * p // 8]
    assert {zero[n]["optimizer states"] for n in zero} == {12 * p // 8}
    assert zero[1]["gradients"] > zero[2]["gradients"]


def test_the_zero_papers_example():
    """Rajbhandari et al. 2020, figure 1: 7.5B parameters, 64 devices, K = 12.

    16 bytes a parameter in all: 31.4 GB with ZeRO-1, 16.6 with ZeRO-2, 1.9 with ZeRO-3; without
    the communication buckets that DeepSpeed holds beside them.
    """
    from dataclasses import replace

    size = replace(BILLION, parameters=7_500_000_000, trained=7_500_000_000)
    for stage, paper in ((1, 31.4), (2, 16.6), (3, 1.9)):
        setup = Setup(rows=1, half=True, accumulates=True, strategy=Strategy(f"ZeRO-{stage}", 64))
        found = memory_of(size, RowShape(1, 0), setup).parts
        states = found["weights"] + found["optimizer states"] + found["gradients"] - 2e9
        assert states / 1e9 == pytest.approx(paper, abs=0.2)


def test_frozen_models_critic_and_cache_have_parts_of_their_own():
    row = RowShape(512, 256, copies=2, frozen=2, reference=1, answer=256)
    found = memory_of(BILLION, row, Setup(rows=1, half=True, sampled=2048))
    assert found.moment == "sampling"
    width = 2 * 2 * BILLION.layers * BILLION.keys
    assert found.parts["key-value cache"] == width * 2048 * 512
    p = BILLION.parameters
    assert found.parts["reference"] == found.parts["other frozen models"] == 4 * p
    assert found.parts["critic"] == 12 * p
    assert sum(found.parts.values()) == found.peak


def test_checkpointing_quantisation_and_eager_attention_count():
    row = RowShape(4096, 4096)
    whole = memory_of(BILLION, row, Setup(rows=4, half=True)).parts["activations"]
    less = memory_of(BILLION, row, Setup(rows=4, half=True, checkpointing=True))
    assert less.parts["activations"] < 0.15 * whole
    eager = memory_of(BILLION, row, Setup(rows=4, half=True, eager=True)).parts["activations"]
    assert eager - whole == 8 * 32 * 4096**2 * 4 * 16
    adapted = arithmetic_size(SMOL, LORA)
    plain = memory_of(adapted, CHAT, Setup(rows=1, half=True)).parts["weights"]
    four = memory_of(adapted, CHAT, Setup(rows=1, half=True, quantized=True)).parts["weights"]
    assert four < 0.4 * plain


def test_what_would_fit_is_named_and_fits():
    size, row = BILLION, RowShape(4096, 4096)
    setup = Setup(rows=8, half=True)
    assert memory_of(size, row, setup).peak > 80 * GIB
    found = remedies("pretrain", size, row, setup, 80 * GIB)
    assert "pretrain.trainer.per_device_train_batch_size=4 and 2 times" in found[0]
    assert any("activation_checkpointing=true" in line for line in found)
    assert remedies("pretrain", size, row, setup, GIB) == ()
