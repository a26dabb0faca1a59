"""Parameters and FLOPs, counted from the model itself.

Training FLOPs per token are 6 N + 12 L H T (forward and backward): 2 per multiply-add and
parameter forward, twice that backward, plus the attention scores and their use, with N the
parameters in matrix multiplications (an untied output head counts, an input embedding does not),
L layers, H attention width, T the sequence length; a causal mask halves the attention in
principle, dense kernels do not. Source: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022
(PaLM), appendix B.
"""

from __future__ import annotations

from typing import Any


def count_parameters(model: Any) -> int:
    """All parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())


def matmul_parameters(model: Any) -> int:
    """Parameters that take part in a matrix multiplication for every token."""
    total = count_parameters(model)
    embedding = model.get_input_embeddings()
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tied = head is not None and head.weight is embedding.weight
    return total if tied else total - embedding.weight.numel()


def flops_per_token(model: Any, seq_len: int) -> float:
    """Training FLOPs per token at this sequence length, forward and backward."""
    config = model.config.get_text_config()
    layers = getattr(config, "num_hidden_layers", 0)
    heads = getattr(config, "num_attention_heads", 0)
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))
    return 6.0 * matmul_parameters(model) + 12.0 * layers * width * seq_len
