"""RowShape and Rate: from what a stage's default batch and learning rate follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowShape:
    """What one row of a training batch holds in memory, from which the micro-batch is chosen.

    tokens: positions that pass through the model, padding included; answer: those that the model
    writes itself first. scored: positions that get logits. fused: the head computes them slice by
    slice. copies: trained models that the row passes through (a separate critic: 2). frozen: models
    of about that size which are only run; reference: of these, reference policies. uncounted: what
    takes memory too and is not estimated when the micro-batch is chosen. together: rows of an
    optimizer step come in groups of so many (answers to one prompt).
    """

    tokens: int
    scored: int = 0
    fused: bool = False
    copies: int = 1
    frozen: int = 0
    uncounted: str = ""
    reference: int = 0
    answer: int = 0
    together: int = 1


@dataclass(frozen=True)
class Rate:
    """Default learning rates of models of up to `up_to` parameters: all weights, or an adapter."""

    up_to: float
    full: float
    lora: float
