"""Parameter counts and FLOPs per token, from the model's modules and config.

Training FLOPs per token, forward and backward, are 6 N + 12 L H T:

- N: parameters in matrix multiplications. 2 FLOPs per parameter forward, 4 backward. The output
  head counts, an embedding that is only looked up does not; in a mixture of experts, only the
  experts that a token visits.
- L layers, H attention width (heads x head dimension), T sequence length: attention scores and the
  weighted sum of values, all T x T of them (a causal mask would need half, dense kernels do not
  save it).

Source: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022 (PaLM), appendix B.
"""

from __future__ import annotations

from typing import Any


def count_parameters(model: Any) -> int:
    """All parameters, tied ones once; also under ZeRO-3, where each process holds a shard."""
    return sum(map(_size, model.parameters()))


def _size(parameter: Any) -> int:
    return getattr(parameter, "ds_numel", parameter.numel())


def matmul_parameters(model: Any) -> int:
    """N of the formula: parameters that a token is multiplied with."""
    from torch import nn

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tables = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    if head is not None:
        tables.pop(id(head.weight), None)  # tied: it is also the head
    looked_up = sum(map(_size, tables.values()))
    return count_parameters(model) - looked_up - _idle_expert_parameters(model)


def _idle_expert_parameters(model: Any) -> int:
    """Parameters of the experts that a token does not visit (0 without a mixture of experts)."""
    config = model.config.get_text_config()
    visited = getattr(config, "num_experts_per_tok", None)
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((n for name in names if (n := getattr(config, name, None))), None)
    if not (visited and experts):
        return 0
    inside = sum(_size(p) for name, p in model.named_parameters() if ".experts." in name)
    return inside - inside * visited // experts


def ppo_flops_per_token(policy: int, critic: int, reward: int, epochs: int) -> float:
    """FLOPs per token of a rollout: 2 N a forward, 6 N an update, attention left out.

    The arguments are `matmul_parameters` of the three models. Policy: sampling, old
    log-probabilities and the reference (6 N); critic: values (2 N); the reward model (2 N); then
    `epochs` updates of policy and critic.
    """
    return 6.0 * policy + 2.0 * critic + 2.0 * reward + 6.0 * epochs * (policy + critic)


def group_flops_per_token(policy: int, reward: int, epochs: int, passes: int) -> float:
    """FLOPs per token of a rollout of GRPO or RLOO: 2 N a forward, 6 N an update.

    As `ppo_flops_per_token`, without a critic. `passes`: forward passes of the policy before the
    update, sampling among them (old log-probabilities, the reference).
    """
    return 2.0 * passes * policy + 2.0 * reward + 6.0 * epochs * policy


def flops_per_token(model: Any, seq_len: int) -> float:
    """Training FLOPs per token at this sequence length, forward and backward."""
    config = model.config.get_text_config()
    layers = getattr(config, "num_hidden_layers", 0)
    heads = getattr(config, "num_attention_heads", 0)
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))
    return 6.0 * matmul_parameters(model) + 12.0 * layers * width * seq_len
