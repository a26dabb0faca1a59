"""The passes over written answers: log-probabilities and values, in a rollout and in an update.

With a shared critic one pass gives both: a hook keeps the trunk's last hidden states, which the
value head reads. Rows go through in one piece each (tight.py), those of a whole rollout sorted by
length; the head scores written tokens alone (fast_cpu/trained_head.py on a CPU, TRL's kernels on
a GPU).
"""

from collections.abc import Iterator
from typing import Any

import torch
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu.trained_head import (
    KEPT,
    Scoring,
    score_trained_positions,
    without_adapter,
)
from hfllm.rl.critic import state_values
from hfllm.rl.critic_trainer import CriticTrainer
from hfllm.rl.unpad import Tight, by_length, in_order, tight_chunks

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
        self._hidden: torch.Tensor | None = None  # the trunk's last, (B, W, H)
        self._pass_values: list[Any] = []  # (B, T) of each pass, with a shared critic
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

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """GRPO's micro-batches, those of an optimizer step in order of length."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or self._buffered_inputs is None:
            return inputs
        steps, together = self.args.steps_per_generation or 1, self.args.gradient_accumulation_steps
        # Only where the gradient does not mind which rows share a micro-batch. (Some metrics do:
        # they are means of micro-batches' means.)
        by_micro_batch = (
            self.args.loss_type != "dapo"
            or self.aux_loss_enabled
            or self._entropy_bonus_enabled
            or self.top_entropy_quantile < 1.0
        )
        if not by_micro_batch and steps % together == 0 and not self._is_vlm:
            self._buffered_inputs = by_length(self._buffered_inputs, together)
        return self._buffered_inputs[self._step % steps]

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
        """GRPO's, (B, T) each, of tight rows; values beside it if the critic is shared."""
        rows = (input_ids, attention_mask, logits_to_keep)
        images = {key: x for key, x in others.items() if key != "compute_aux_loss"}
        if any(x is not None for x in images.values()):  # they stand by the padded rows
            size = None if self.args.shared_critic else batch_size  # the hook sees one chunk
            self._hidden = None  # generation ran the trunk too
            result = super()._get_per_token_logps_and_entropies(
                model, *rows, size, compute_entropy, **others
            )
            values = self._values_of_hidden(model)
            values = None if values is None else values[:, -logits_to_keep:]
        else:
            # Without a backward no activations are held: twice the rows that an update takes.
            size = len(input_ids) if batch_size is None else 2 * batch_size
            aux = others.get("compute_aux_loss", False)
            result, values = self._of_text(model, tight_chunks(*rows, size), aux)
        if compute_entropy:  # an update's call
            self._new_logps = result[0].detach()
        if self.args.shared_critic:
            self._pass_values.append(values)
        return result

    def _of_text(
        self, model: torch.nn.Module, chunks: Iterator[tuple[torch.Tensor, Tight]], aux: bool
    ) -> tuple[Any, torch.Tensor | None]:
        """Log-probabilities, entropies and the auxiliary loss; and values, where there is a hook.

        GRPO's own pass with the rows laid out otherwise.
        """
        logps, entropies, values, losses = [], [], [], []
        for numbers, rows in chunks:
            self._hidden = None
            # Experts are balanced over what is no padding; nothing else needs the mask.
            extra = {"attention_mask": rows.mask, "output_router_logits": True} if aux else {}
            with self.accelerator.autocast():
                out = model(input_ids=rows.ids, labels=rows.labels, fused_lm_head=True, **extra)
            scored = rows.ids.size(1) - 1  # a prompt that is learned stands before the rows
            logps.append((numbers, rows.back(out.log_probs[:, -scored:].float())))
            if out.entropy is not None:
                entropies.append((numbers, rows.back(out.entropy[:, -scored:])))
            if (chunk_values := self._values_of_hidden(model)) is not None:
                values.append((numbers, rows.back(chunk_values[:, -scored:])))
            losses += [out.aux_loss] if aux else []
        result = (
            in_order(logps),
            in_order(entropies) if entropies else None,
            torch.stack(losses).mean() if losses else None,
        )
        return result, in_order(values) if values else None

    def _values_of_hidden(self, model: torch.nn.Module) -> torch.Tensor | None:
        """V before each token but the first; None without a head, and of the reference."""
        if self._hidden is None:
            return None
        hidden, self._hidden = self._hidden[:, :-1], None
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
                values = self._state_values(self.model, ids, mask, tokens, 2 * size)
        self._pass_values.clear()
        batch["values"] = values * batch["completion_mask"]

    def _state_values(
        self,
        model: torch.nn.Module,
        ids: torch.Tensor,
        mask: torch.Tensor,
        tokens: int,
        size: int | None = None,
    ) -> torch.Tensor:
        """What a critic of its own says, (B, T), `size` rows at a time."""
        critic = self._critic_of(model)
        with self.accelerator.autocast():
            chunks = tight_chunks(ids, mask, tokens, size or len(ids))
            return in_order([(numbers, state_values(critic, rows)) for numbers, rows in chunks])

    def _update_values(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """New values (B, T) of an update's micro-batch, after its pass for log-probabilities."""
        if self.args.shared_critic:
            return self._pass_values.pop()
        return self._state_values(model, *_rows(inputs), inputs["completion_ids"].size(1))


def _rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts and completions together: ids and attention mask, (B, P + T) each."""
    parts = [(batch[f"prompt_{x}"], batch[f"completion_{x}"]) for x in ("ids", "mask")]
    return torch.cat(parts[0], dim=1), torch.cat(parts[1], dim=1)
