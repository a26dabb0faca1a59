"""The passes over written answers: log-probabilities and values, in a rollout and in an update.

With a shared critic one pass gives both: a hook keeps the trunk's last hidden states, which the
value head reads. Passes over a whole rollout need no gradient, so their rows go through sorted by
length, without the columns that only padding needs; the head scores written tokens alone
(modeling/trained_head.py on a CPU, TRL's kernels on a GPU).
"""

from typing import Any

import torch
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.modeling.trained_head import (
    KEPT,
    Scoring,
    score_trained_positions,
    without_adapter,
)
from hfllm.rl.critic import state_values
from hfllm.rl.critic_trainer import CriticTrainer
from hfllm.rl.narrow import narrow_chunks

Batch = dict[str, Any]


class PassingTrainer(CriticTrainer):
    """CriticTrainer that computes log-probabilities and values of answers cheaply."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put the cheap head on policy and reference, and the hook on the trunk."""
        super().__init__(*args, **kwargs)
        self.notes: list[str] = []  # what is not done as a user would think, for the manifest
        if self.accelerator.device.type == "cpu":
            if self._is_sharded():
                self.notes.append("the policy is in shards: trl's head is kept, slower on a CPU")
            else:
                self._cheap_head()
        self._hidden: torch.Tensor | None = None  # the trunk's last, (B, P + T, H)
        self._pass_values: list[torch.Tensor] = []  # (B, T) of each pass, with a shared critic
        if self.args.shared_critic:
            without_adapter(self.model).base_model.register_forward_hook(self._keep_hidden)

    def _cheap_head(self) -> None:
        how = Scoring(self.temperature, entropy_grad=self._entropy_bonus_enabled)
        if self.args.cast_lm_head_to_fp32:
            self.notes.append("cast_lm_head_to_fp32: trl's head is kept, slower on a CPU")
            return
        models = [m for m in (self.model, self.ref_model) if m is not None]
        plain = [self.accelerator.unwrap_model(model) for model in models]
        if not all([score_trained_positions(m, FusedCausalLMOutput, how) for m in plain]):
            self.notes.append(KEPT)

    def _keep_hidden(self, _module: Any, _args: Any, output: Any) -> None:
        self._hidden = output.last_hidden_state

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """GRPO's, in narrow chunks where there is no backward; values beside it if shared."""
        self._hidden = None  # generation ran the trunk too
        whole = (input_ids, attention_mask)
        images = any(x is not None for key, x in others.items() if key != "compute_aux_loss")
        if torch.is_grad_enabled() or images or others.get("compute_aux_loss"):
            size = None if self.args.shared_critic else batch_size  # the hook sees one chunk
            result = super()._get_per_token_logps_and_entropies(
                model, *whole, logits_to_keep, size, compute_entropy, **others
            )
            values = self._values_of_hidden(model, logits_to_keep)
        else:
            size = batch_size or len(input_ids)
            logps = input_ids.new_zeros((len(input_ids), logits_to_keep), dtype=torch.float32)
            entropy, values = torch.zeros_like(logps), torch.zeros_like(logps)
            for rows, columns, kept in narrow_chunks(attention_mask, logits_to_keep, size):
                chunk = [x[rows, columns] for x in whole]
                part = super()._get_per_token_logps_and_entropies(
                    model, *chunk, kept, None, compute_entropy, **others
                )
                logps[rows, :kept] = part[0].float()
                if part[1] is not None:
                    entropy[rows, :kept] = part[1].float()
                part_values = self._values_of_hidden(model, kept)
                if part_values is not None:
                    values[rows, :kept] = part_values
            result = logps, entropy if compute_entropy else None, None
        if compute_entropy:  # an update's call
            self._new_logps = result[0].detach()
        if self.args.shared_critic:
            self._pass_values.append(values)
        return result

    def _values_of_hidden(self, model: torch.nn.Module, tokens: int) -> Any:
        """V before each of the last `tokens` tokens; None without a head, and of the reference."""
        if self._hidden is None:
            return None
        hidden, self._hidden = self._hidden[:, -tokens - 1 : -1], None
        return self._critic_of(model)(hidden)

    def _add_logps_and_values(self, batch: Batch) -> None:
        """Old log-probabilities, where GRPO left them out, and values of a rollout: (B, T)."""
        args = self.args
        training = self.model.training
        size = args.per_device_train_batch_size if training else args.per_device_eval_batch_size
        ids, mask = _rows(batch)
        tokens = batch["completion_ids"].size(1)
        checkpointing: Any = args.gradient_checkpointing_kwargs
        with disable_gradient_checkpointing(self.model, checkpointing):
            own = 0  # GRPO's first pass of a rollout is the old policy's, the reference follows
            if "old_per_token_logps" not in batch:  # each rollout is used once
                own = len(self._pass_values)
                batch["old_per_token_logps"], _, _ = self._get_per_token_logps_and_entropies(
                    self.model, ids, mask, tokens, batch_size=size
                )
            if args.shared_critic:
                values = self._pass_values[own]
            else:
                values = torch.zeros_like(batch["old_per_token_logps"])
                for rows, columns, kept in narrow_chunks(mask, tokens, size):
                    chunk = (ids[rows, columns], mask[rows, columns])
                    values[rows, :kept] = self._state_values(self.model, *chunk, kept)
        self._pass_values.clear()
        batch["values"] = values * batch["completion_mask"]

    def _state_values(
        self, model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, tokens: int
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            return state_values(self._critic_of(model), ids, mask, tokens)

    def _update_values(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """New values (B, T) of an update's micro-batch, after its pass for log-probabilities."""
        if self.args.shared_critic:
            return self._pass_values.pop()
        return self._state_values(model, *_rows(inputs), inputs["completion_ids"].size(1))


def _rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts and completions together: ids and attention mask, (B, P + T) each."""
    parts = [(batch[f"prompt_{x}"], batch[f"completion_{x}"]) for x in ("ids", "mask")]
    return torch.cat(parts[0], dim=1), torch.cat(parts[1], dim=1)
