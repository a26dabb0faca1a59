"""A value head on a policy: the critic of `shared_critic`, a linear map of its hidden states."""

import torch
from transformers import PretrainedConfig, PreTrainedModel


class ValueHeadConfig(PretrainedConfig):
    """The size of a `ValueHead`."""

    model_type = "value_head"
    hidden_size: int = 1


class ValueHead(PreTrainedModel):
    """V(state) as a linear map of the policy's last hidden state, initialised to zero."""

    config_class = ValueHeadConfig

    def __init__(self, config: ValueHeadConfig) -> None:
        """Create the linear map, in float32."""
        super().__init__(config)
        self.score = torch.nn.Linear(config.hidden_size, 1)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, T, H) -> values (B, T), float32; no gradient reaches `hidden`."""
        hidden = hidden.detach().to(self.score.weight.dtype)  # DeepSpeed may have cast the head
        return self.score(hidden).float().squeeze(-1)


def build_value_head(policy: PreTrainedModel) -> ValueHead:
    """A `ValueHead` with the hidden size of `policy`."""
    hidden = policy.config.get_text_config().hidden_size
    return ValueHead(ValueHeadConfig(hidden_size=hidden))
