"""Estimate the peak memory of a training step from the model's sizes and the rows of a micro-batch.

Parts, in bytes (P parameters, P' of them trained, L layers, H hidden size, I width of the MLP, K
width of the keys, V vocabulary; e bytes of an activation: 2 in bf16, 4 in fp32):

- weights 4 P (2 P' more for the copies that autocast keeps), AdamW 8 P', gradients 4 P' where they
  are accumulated: otherwise they come while activations go
- activations kept for the backward pass, per token and layer: 24 H + 2 e K + 4 e I, and (4 + e) H
  more if the weights themselves are trained: the tensors that autograd keeps of a Llama block (a
  test counts them). With activation checkpointing 4 H, and one layer whole
- logits: 18 V a position: the head's, their float32 copy, log-softmax, probabilities and a product
- a quarter more of these two: gradients on their way back, and gaps between freed blocks
- the libraries

So it holds for blocks like Llama's; others (mixtures of experts, state spaces) are estimated by
their widths alone. Measured peaks: docs/benchmarks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hfllm.fast_cpu import HEAD_CHUNK
from hfllm.recipe.stage import RowShape

GIB = 2**30
LIBRARIES = int(1.05 * GIB)  # resident after the imports, on a CPU
CONTEXT = int(0.6 * GIB)  # CUDA's context and its workspaces
LOGIT_BYTES = 18
GAPS = 1.25  # measured: what a row takes more than its tensors
GPU_SLICE = 2**26  # logits that trl's fused head computes at once on a GPU


def in_gib(n: float) -> str:
    """A number of bytes: 4.0 GiB."""
    return f"{n / GIB:.1f} GiB"


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a model that the estimate reads; `trained` of its parameters get gradients."""

    parameters: int
    trained: int
    layers: int
    hidden: int
    mlp: int
    keys: int
    vocabulary: int
    attention: int = 0  # width of all query heads
    heads: int = 0
    matmul: int = 0  # of the base model's parameters, those that a token is multiplied with
    tied: bool = True  # the head is the embedding table

    @property
    def adapter(self) -> bool:
        """Whether only an adapter is trained."""
        return self.trained < self.parameters / 2


def model_size(config: Any, peft: dict[str, Any] | None = None) -> ModelSize | None:
    """The sizes of the model of a transformers config; None if transformers cannot build it.

    Raises:
        ValueError: the model has no modules as `peft` names them (one line).
    """
    from hfllm.modeling.flops import matmul_parameters
    from hfllm.modeling.start_config import weightless_model, with_adapter  # torch: seconds

    model: Any = weightless_model(config)
    if model is None:
        return None
    matmul = matmul_parameters(model)
    base = trained = sum(p.numel() for p in model.parameters())
    if peft is not None:
        model = with_adapter(model, peft)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    text = config.get_text_config()
    hidden = int(text.hidden_size)
    heads = max(1, int(getattr(text, "num_attention_heads", 0) or 1))
    of_keys = int(getattr(text, "num_key_value_heads", 0) or heads)
    per_head = int(getattr(text, "head_dim", 0) or hidden // heads)
    return ModelSize(
        parameters=base + (trained if peft is not None else 0),
        trained=trained,
        layers=int(getattr(text, "num_hidden_layers", 1)),
        hidden=hidden,
        mlp=int(getattr(text, "intermediate_size", 0) or 4 * hidden),
        keys=of_keys * per_head,
        vocabulary=int(text.vocab_size),
        attention=heads * per_head,
        heads=heads,
        matmul=matmul,
        tied=bool(getattr(text, "tie_word_embeddings", True)),
    )


@dataclass(frozen=True)
class Training:
    """How a step trains: what changes its memory besides the model and the rows."""

    bf16: bool
    checkpointing: bool
    on_gpu: bool
    accumulates: bool = False  # gradients are kept while the next micro-batch passes


def peak_bytes(size: ModelSize, row: RowShape, rows: int, how: Training) -> int:
    """Peak bytes of one process that trains micro-batches of `rows` rows."""
    fixed = 4 * size.parameters + (8 + 4 * how.accumulates + 2 * how.bf16) * size.trained
    frozen = row.frozen * 4 * size.parameters
    block = block_bytes(size, how.bf16)
    passing = row.copies * activations(size, rows * row.tokens, block, how.checkpointing)
    passing += LOGIT_BYTES * logits_at_once(size, row, rows, how.on_gpu)
    kept = row.copies * fixed + frozen + (CONTEXT if how.on_gpu else LIBRARIES)
    return kept + int(GAPS * passing)


def block_bytes(size: ModelSize, half: bool) -> int:
    """Bytes a token that autograd keeps of one block until the backward pass; half: bf16 or fp16.

    Of a Llama block: norms, rotary embeddings and the residual stream 24 H, key and value 2 e K,
    the four tensors of the gated MLP 4 e I, and (4 + e) H more where the weights are trained.
    """
    width = 2 if half else 4
    layer = 24 * size.hidden + 2 * width * size.keys + 4 * width * size.mlp
    return layer + (0 if size.adapter else (4 + width) * size.hidden)


def activations(size: ModelSize, tokens: int, block: int, checkpointing: bool) -> int:
    """Bytes kept of all blocks, `block` a token each; with checkpointing inputs and one block."""
    if checkpointing:
        return tokens * (size.layers * 4 * size.hidden + block)
    return tokens * size.layers * block


def logits_at_once(size: ModelSize, row: RowShape, rows: int, on_gpu: bool) -> int:
    """The number of logits that are there together: of all scored positions, or a slice of them."""
    at_once = rows * row.scored * size.vocabulary
    return min(at_once, GPU_SLICE if on_gpu else HEAD_CHUNK) if row.fused else at_once
