"""torch's Muon with the matrices of one shape orthogonalised together, in one batched product.

`torch.optim.Muon` takes one matrix after the other: in a small model its Newton-Schulz iterations
are hundreds of small products, a fifth of a training step on two cores. Stacked by shape (N, A, B)
they are few larger ones. Options, state and checkpoints are torch's own; updates are equal up to
bfloat16 rounding. Cost: 72 instead of 90 ms for 28 matrices (docs/benchmarks.md).
HFLLM_SLOW=stacked_muon takes torch's own step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch

from hfllm.fast_cpu import is_on

STACK = 2**24  # elements orthogonalised at once: 32 MB in bfloat16, three times over


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` that steps stacks of matrices; `adjust_lr_fn` must be match_rms_adamw."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One step; `closure` as in every torch optimizer."""
        if not is_on("stacked_muon"):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["adjust_lr_fn"] != "match_rms_adamw":
                raise ValueError(f"adjust_lr_fn: {group['adjust_lr_fn']} is not stacked")
            params: list[torch.Tensor] = []
            grads: list[torch.Tensor] = []
            moments: list[torch.Tensor] = []
            self._init_group(group, params, grads, moments)
            for stack in _stacks(params):
                _step(group, *([each[i] for i in stack] for each in (params, grads, moments)))
        return loss


def _stacks(params: list[torch.Tensor]) -> Iterator[list[int]]:
    """Indices of matrices of one shape, device and dtype, at most STACK elements together."""
    same: dict[Any, list[int]] = defaultdict(list)
    for index, param in enumerate(params):
        same[param.shape, param.device, param.dtype].append(index)
    for (shape, *_), members in same.items():
        size = max(1, STACK // math.prod(shape))
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _step(
    group: dict[str, Any],
    params: list[torch.Tensor],
    grads: list[torch.Tensor],
    moments: list[torch.Tensor],
) -> None:
    """Momentum, orthogonalised update, weight decay of matrices of one shape (A, B), in place."""
    momentum = group["momentum"]
    torch._foreach_lerp_(moments, grads, 1 - momentum)
    ahead = torch._foreach_lerp(grads, moments, momentum) if group["nesterov"] else moments
    updates = orthogonal(
        torch.stack(tuple(ahead)), group["ns_coefficients"], group["ns_steps"], group["eps"]
    )
    rate = float(group["lr"])
    scaled = rate * 0.2 * math.sqrt(max(params[0].shape))  # match_rms_adamw
    torch._foreach_mul_(params, 1 - rate * group["weight_decay"])
    torch._foreach_add_(params, updates.to(params[0].dtype).unbind(), alpha=-scaled)


def orthogonal(
    stack: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Nearly orthogonal matrices with the singular vectors of those given, in bfloat16.

    Quintic Newton-Schulz iterations; source: Jordan et al. 2024 (Muon).

    Args:
        stack: (N, A, B).
        coefficients: a, b, c of X <- a X + (b X X' + c (X X')^2) X.
        steps: iterations.
        eps: smallest Frobenius norm that a matrix is divided by.

    Returns:
        (N, A, B), bfloat16, singular values near 1.
    """
    a, b, c = coefficients
    rows = stack.bfloat16()
    tall = rows.shape[-2] > rows.shape[-1]
    if tall:
        rows = rows.mT
    rows = rows / rows.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)  # singular values below 1
    for _ in range(steps):
        gram = rows @ rows.mT
        rows = torch.baddbmm(rows, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), rows, beta=a)
    return rows.mT if tall else rows
