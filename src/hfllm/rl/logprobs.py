"""Log-probabilities, entropies and values of answers, computed on unpadded rows.

A rollout (policy and reference) and an update use them. Rows are run without the padding between
prompt and answer (unpad.py), those of a rollout sorted by length; the head scores only answer
tokens (fast_cpu/trained_head.py on a CPU, TRL's kernels on a GPU). A `ValueHead` gives values in
the same pass; a separate critic takes a pass of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu.trained_head import Scoring, score_trained_positions, why_kept
from hfllm.rl.critic import Critic, padded_state_values, state_values
from hfllm.rl.unpad import Rows, UnpaddedBatch, restore_order, unpadded_chunks


@dataclass(frozen=True)
class ForwardPass:
    """The results of one forward pass over answers."""

    logps: torch.Tensor  # (B, T)
    entropies: torch.Tensor | None = None  # (B, T)
    aux_loss: torch.Tensor | None = None  # (), of a mixture of experts
    values: torch.Tensor | None = None  # (B, T), of a `ValueHead`


def score_answers(
    model: torch.nn.Module,
    chunks: Iterable[tuple[torch.Tensor, UnpaddedBatch]],
    critic: Critic | None,
    autocast: Callable[[], AbstractContextManager],
    with_aux_loss: bool = False,
) -> ForwardPass:
    """Run a model over answers: GRPO's `_get_per_token_logps_and_entropies` on unpadded rows.

    Args:
        model: the policy or the reference, with TRL's fused head.
        chunks: of `unpadded_chunks`.
        critic: if it is a `ValueHead`, a pass of the policy also gives its values; None without.
        autocast: the accelerator's.
        with_aux_loss: also compute the load-balancing loss of experts, as TRL does.
    """
    logps, entropies, values, losses = [], [], [], []
    for numbers, rows in chunks:
        if critic is not None:
            critic.forget_states()
        # The load-balancing loss leaves out padding; nothing else needs the mask.
        aux = {"attention_mask": rows.mask, "output_router_logits": True} if with_aux_loss else {}
        with autocast():
            out = model(input_ids=rows.ids, labels=rows.labels, fused_lm_head=True, **aux)
        scored = rows.ids.size(1) - 1  # prompt tuning puts virtual tokens before the rows
        logps.append((numbers, rows.repad(out.log_probs[:, -scored:].float())))
        if out.entropy is not None:
            entropies.append((numbers, rows.repad(out.entropy[:, -scored:])))
        chunk_values = None if critic is None else critic.values_of_pass()
        if chunk_values is not None:
            values.append((numbers, rows.repad(chunk_values[:, -scored:])))
        losses += [out.aux_loss] if with_aux_loss else []
    return ForwardPass(
        restore_order(logps),
        restore_order(entropies) if entropies else None,
        torch.stack(losses).mean() if losses else None,
        restore_order(values) if values else None,
    )


def score_unpadded(
    model: torch.nn.Module,
    rows: Rows,
    batch_size: int | None,
    critic: Critic | None,
    autocast: Callable[[], AbstractContextManager],
    with_aux_loss: bool,
) -> ForwardPass:
    """`score_answers` on rows as TRL pads them.

    Args:
        model: the policy or the reference, with TRL's fused head.
        rows: ids and mask (B, P + T), and T.
        batch_size: of TRL; None in an update: all rows.
        critic: as for `score_answers`.
        autocast: the accelerator's.
        with_aux_loss: as for `score_answers`.
    """
    # Without a backward no activations are kept: twice the rows of an update fit.
    size = len(rows[0]) if batch_size is None else 2 * batch_size
    return score_answers(model, unpadded_chunks(*rows, size), critic, autocast, with_aux_loss)


def critic_values(critic: Any, rows: Rows, size: int, unpads: bool) -> torch.Tensor:
    """Values (B, T) of a separate critic.

    Args:
        critic: the model, of `build_critic`.
        rows: ids and mask (B, P + T), and T.
        size: rows per forward pass.
        unpads: False runs the rows as TRL pads them.
    """
    if unpads:
        chunks = unpadded_chunks(*rows, size)
        return restore_order([(numbers, state_values(critic, part)) for numbers, part in chunks])
    ids, mask, tokens = rows
    parts = zip(ids.split(size), mask.split(size), strict=True)
    return torch.cat([padded_state_values(critic, *part, tokens) for part in parts])


def score_written_tokens_only(models: Sequence[Any], how: Scoring) -> list[str]:
    """Install the CPU head that skips prompt tokens; return a note if a model keeps TRL's head."""
    kept = [m for m in models if not score_trained_positions(m, FusedCausalLMOutput, how)]
    return list(dict.fromkeys(map(why_kept, kept)))
