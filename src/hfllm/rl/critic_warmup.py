"""Train the critic alone for the first optimizer steps (`critic_warmup_steps`).

The policy's loss is multiplied by 0 in these steps, which is not enough: weight decay would still
move the policy, and Adam would count steps. So its gradients are removed, and optimizers skip a
parameter without one. DeepSpeed steps inside its backward: there the decay is switched off.
"""

from typing import Any

from transformers import TrainerCallback

CRITIC_GROUP = "critic"  # True in an optimizer group of the critic's parameters


class CriticWarmup(TrainerCallback):
    """Leaves the policy as it is for `args.critic_warmup_steps` optimizer steps."""

    def __init__(self, args: Any, critic: Any, is_deepspeed: bool) -> None:
        """`critic`: a `Critic`, which tells its parameters from the policy's."""
        self.steps, self._critic = args.critic_warmup_steps, critic
        self._is_deepspeed = is_deepspeed
        self._decays: list[float] = []  # of the policy's groups, after the warm-up

    def is_on(self, step: int) -> bool:
        """Whether the critic trains alone after so many optimizer steps."""
        return step < self.steps

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the policy's gradients."""
        if self.is_on(state.global_step) and not self._is_deepspeed:
            for parameter in self._critic.split_parameters(kwargs["model"])[0]:
                parameter.grad = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Switch the policy's weight decay off, and on again after the last step."""
        if not self._is_deepspeed or not self.steps:
            return
        groups = [g for g in kwargs["optimizer"].param_groups if not g.get(CRITIC_GROUP)]
        if self.is_on(state.global_step) and not self._decays:
            self._decays = [group["weight_decay"] for group in groups]
            for group in groups:
                group["weight_decay"] = 0.0
        elif not self.is_on(state.global_step) and self._decays:
            for group, decay in zip(groups, self._decays, strict=True):
                group["weight_decay"] = decay
            self._decays = []
