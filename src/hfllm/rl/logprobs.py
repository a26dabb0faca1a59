"""Log-probabilities, entropies and values of answers, over unpadded rows.

Both a rollout (the policy's, the reference's) and an update read them. Rows go through without the
padding between prompt and answer (unpad.py), those of a whole rollout sorted by length; the head
scores written tokens alone (fast_cpu/trained_head.py on a CPU, TRL's kernels on a GPU). Where the
critic is a head on the trunk, the same pass gives its values; else it takes one of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu.trained_head import KEPT, Scoring, score_trained_positions
from hfllm.rl.critic import Critic, padded_state_values, state_values
from hfllm.rl.unpad import Rows, UnpaddedBatch, in_order, unpadded_chunks


@dataclass(frozen=True)
class ForwardPass:
    """What one pass over answers gave."""

    logps: torch.Tensor  # (B, T)
    entropies: torch.Tensor | None = None  # (B, T)
    aux_loss: torch.Tensor | None = None  # (): of a mixture of experts
    values: torch.Tensor | None = None  # (B, T), of a critic that is a head on the trunk


def score_answers(
    model: torch.nn.Module,
    chunks: Iterable[tuple[torch.Tensor, UnpaddedBatch]],
    critic: Critic,
    autocast: Callable[[], AbstractContextManager],
    with_aux_loss: bool = False,
) -> ForwardPass:
    """GRPO's own pass (`_get_per_token_logps_and_entropies`) with the rows laid out otherwise.

    Args:
        model: the policy or the reference, with TRL's fused head.
        chunks: of `unpadded_chunks`.
        critic: gives values where it is a head on the trunk of `model`.
        autocast: the accelerator's.
        with_aux_loss: balance the experts, as TRL does it.
    """
    logps, entropies, values, losses = [], [], [], []
    for numbers, rows in chunks:
        critic.forget_states()
        # Experts are balanced over what is no padding; nothing else needs the mask.
        aux = {"attention_mask": rows.mask, "output_router_logits": True} if with_aux_loss else {}
        with autocast():
            out = model(input_ids=rows.ids, labels=rows.labels, fused_lm_head=True, **aux)
        scored = rows.ids.size(1) - 1  # a prompt that is learned stands before the rows
        logps.append((numbers, rows.repad(out.log_probs[:, -scored:].float())))
        if out.entropy is not None:
            entropies.append((numbers, rows.repad(out.entropy[:, -scored:])))
        if (chunk_values := critic.values_of_pass()) is not None:
            values.append((numbers, rows.repad(chunk_values[:, -scored:])))
        losses += [out.aux_loss] if with_aux_loss else []
    return ForwardPass(
        in_order(logps),
        in_order(entropies) if entropies else None,
        torch.stack(losses).mean() if losses else None,
        in_order(values) if values else None,
    )


def critic_values(critic: Any, rows: Rows, size: int, unpads: bool) -> torch.Tensor:
    """Values (B, T) by a critic that is a model of its own, `size` rows at a time.

    `unpads` False: over the rows as TRL has padded them.
    """
    if unpads:
        chunks = unpadded_chunks(*rows, size)
        return in_order([(numbers, state_values(critic, part)) for numbers, part in chunks])
    ids, mask, tokens = rows
    parts = zip(ids.split(size), mask.split(size), strict=True)
    return torch.cat([padded_state_values(critic, *part, tokens) for part in parts])


def score_written_tokens_only(models: Sequence[Any], how: Scoring) -> list[str]:
    """Put the head that skips prompts on `models`, on a CPU; says where one keeps TRL's."""
    done = [score_trained_positions(model, FusedCausalLMOutput, how) for model in models]
    return [] if all(done) else [KEPT]
