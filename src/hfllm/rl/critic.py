"""The critic: a value model V(state) per token, and its place inside the policy.

`build_critic` loads it (from a reward model: the head comes along, so values start near scores;
from a language model: the head starts at zero). The trainer hangs it into the policy as the
submodule `critic`, so that one optimizer, one DDP or ZeRO engine and one backward see both.
`without_critic` takes it out again where a library walks the policy's modules (saving, loading,
weight sync to vLLM): the saved policy is then an ordinary model folder, and the critic lies beside
it in `critic/`.

Why a separate model by default: a policy that is trained whole changes under a head that reads it,
and its last hidden states are made for the next token. `ValueHead` (`shared_critic`) is the cheap
way: a linear map of the policy's own last hidden states, cut off from them in the backward, so that
the value loss never moves the policy and no second model runs. It suits adapters on a larger model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from hfllm.rl.unpad import Tight

FOLDER = "critic"


def build_critic(folder: str | Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a critic from the folder of a reward model, a language model or a critic.

    Float32 by default: steps of 1e-6 vanish in bf16 weights (autocast still computes in bf16).

    Raises:
        ValueError: if the architecture has no token classification class in transformers, or one
            whose head is not the reward model's.
    """
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    config.classifier_dropout = 0.0  # default 0.1, and dropout would blur the value baseline
    config.token_classification_bias = False  # a reward model's head has none: it loads as it is
    try:
        critic, info = AutoModelForTokenClassification.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True
        )
    except ValueError as error:
        raise ValueError(
            f"no critic from {folder}: transformers has no token classification model for "
            f"model_type {config.model_type!r}, use another architecture"
        ) from error
    if not hasattr(critic, "score"):  # GPT-2 calls it `classifier`: a reward model's would be lost
        raise ValueError(
            f"no critic from {folder}: {type(critic).__name__} has another head than reward models "
            "have, it would start at random; set trainer.shared_critic or take another architecture"
        )
    if any(key.split(".")[0] == "score" for key in info["missing_keys"]):
        _zero(critic.score.weight)
    return critic


def _zero(weight: torch.nn.Parameter) -> None:
    if hasattr(weight, "ds_id"):  # ZeRO-3 holds a shard only, until gathered
        import deepspeed

        with deepspeed.zero.GatheredParameters(weight, modifier_rank=0):
            torch.nn.init.zeros_(weight)
    else:
        torch.nn.init.zeros_(weight)


class ValueHeadConfig(PretrainedConfig):
    """The size of a `ValueHead`."""

    model_type = "value_head"
    hidden_size: int = 1


class ValueHead(PreTrainedModel):
    """V(state) as a linear map of the policy's last hidden state; zero at first."""

    config_class = ValueHeadConfig

    def __init__(self, config: ValueHeadConfig) -> None:
        """The map alone, in float32."""
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


def state_values(critic: PreTrainedModel, rows: Tight) -> torch.Tensor:
    """V(state before each of the answers' tokens), (B, T), float32.

    The value at token t is read at token t - 1, which has seen neither t nor later.
    """
    output = critic(input_ids=rows.ids, use_cache=False)
    return rows.back(output.logits[:, :-1, 0].float())


@contextmanager
def without_critic(policy: torch.nn.Module) -> Iterator[PreTrainedModel]:
    """Inside, `policy` is the plain model again; yields the critic, which comes back at the end."""
    critic = policy._modules.pop(FOLDER)
    assert isinstance(critic, PreTrainedModel)
    try:
        yield critic
    finally:
        policy._modules[FOLDER] = critic


def split_state(
    state: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A gathered state dict of the policy with its critic -> the policy's and the critic's own."""
    prefix = FOLDER + "."
    critic = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return {k: v for k, v in state.items() if not k.startswith(prefix)}, critic


def load_critic(critic: PreTrainedModel, checkpoint: str | Path) -> None:
    """Fill `critic` with the weights in `checkpoint`/critic.

    Raises:
        ValueError: if the checkpoint has no critic.
    """
    folder = Path(checkpoint) / FOLDER
    if not (folder / "config.json").exists():
        raise ValueError(
            f"{checkpoint} has no {FOLDER}/ folder, so PPO cannot resume from it: "
            "start it anew (resume: false) with this model as init"
        )
    shared = isinstance(critic, ValueHead)
    written = PretrainedConfig.get_config_dict(folder)[0].get("model_type")
    if shared != (written == ValueHeadConfig.model_type):
        raise ValueError(
            f"{checkpoint} was written with shared_critic={str(not shared).lower()}: set it so, or "
            "start anew (resume: false)"
        )
    if shared:
        saved: PreTrainedModel = ValueHead.from_pretrained(folder, dtype=critic.dtype)
    else:
        saved = build_critic(folder, dtype=critic.dtype)
    critic.load_state_dict(saved.state_dict())
