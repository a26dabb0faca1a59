"""The critic: V(state) before each token, a separate model or a value head on the policy.

`build_critic` loads a separate model; from a reward model with its head, so that values start near
the scores, from a language model with a head of zeros. `Critic` adds it to the policy as the
submodule `critic`, so that one optimizer, one DDP or ZeRO engine and one backward see both, and
removes it while a library walks the policy's modules (saving, loading, weight sync to vLLM): the
saved policy is an ordinary model folder, with the critic in its subfolder `critic/`.

Why a separate model by default: the hidden states of a policy under full training change below a
head that reads them, and they are trained to predict the next token. `ValueHead` (`shared_critic`)
is cheaper: a linear map of the policy's last hidden states, detached, so that the value loss never
changes the policy and no second model runs. It suits adapters on a larger model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from hfllm.modeling.adapters import without_adapter
from hfllm.modeling.load_report import without_load_report
from hfllm.rl.critic_warmup import CRITIC_GROUP
from hfllm.rl.unpad import UnpaddedBatch
from hfllm.rl.value_head import ValueHead, ValueHeadConfig

FOLDER = "critic"
State = dict[str, torch.Tensor]


def build_critic(folder: str | Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a critic from the folder of a reward model, a language model or a critic.

    Float32 by default: updates of 1e-6 vanish in bf16 weights (autocast still computes in bf16).

    Raises:
        ValueError: transformers has no token classification class for the architecture, or one
            whose head has another name than a reward model's; or weights are missing.
    """
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    config.classifier_dropout = 0.0  # default 0.1; dropout would add noise to the values
    config.token_classification_bias = False  # as a reward model's head, which is loaded
    try:
        with without_load_report():  # a language model has no head; other weights are checked
            critic, info = AutoModelForTokenClassification.from_pretrained(
                folder, config=config, dtype=dtype, output_loading_info=True
            )
    except ValueError as error:
        raise ValueError(
            f"no critic from {folder}: transformers has no token classification model for "
            f"model_type {config.model_type!r}; use another architecture"
        ) from error
    if not hasattr(critic, "score"):  # GPT-2's is `classifier`: the reward model's is not loaded
        raise ValueError(
            f"no critic from {folder}: {type(critic).__name__} has another head than reward models "
            "have, it would start at random; set trainer.shared_critic or use another architecture"
        )
    missing = sorted(info["missing_keys"])
    if lost := [key for key in missing if key.split(".")[0] != "score"]:
        raise ValueError(
            f"no critic from {folder}: it lacks {len(lost)} weights, {lost[0]!r} first"
        )
    if missing:
        _zero(critic.score.weight)
    return critic


def _zero(weight: torch.nn.Parameter) -> None:
    if hasattr(weight, "ds_id"):  # ZeRO-3: this process has only a shard until it is gathered
        import deepspeed

        with deepspeed.zero.GatheredParameters(weight, modifier_rank=0):
            torch.nn.init.zeros_(weight)
    else:
        torch.nn.init.zeros_(weight)


def state_values(critic: PreTrainedModel, rows: UnpaddedBatch) -> torch.Tensor:
    """V(state before each token of the answers), (B, T), float32, of unpadded rows.

    The value at token t is the output at token t - 1, which attends to neither t nor later.
    """
    output = critic(input_ids=rows.ids, use_cache=False)
    return rows.repad(output.logits[:, :-1, 0].float())


def padded_state_values(
    critic: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int
) -> torch.Tensor:
    """`state_values` of TRL's padded rows: `ids` and `mask` (B, P + T); `tokens` is T."""
    output = critic(input_ids=ids, attention_mask=mask, use_cache=False)
    return output.logits[:, -tokens - 1 : -1, 0].float()


class Critic:
    """The critic as the submodule `critic` of a policy.

    The submodule is looked up at each use, because an engine (DDP, ZeRO) may wrap it.
    """

    def __init__(self, policy: torch.nn.Module, model: PreTrainedModel) -> None:
        """Add `model` to `policy`; a `ValueHead` gets a hook on the last hidden states."""
        policy.add_module(FOLDER, model)
        self._policy = policy
        self.is_head = isinstance(model, ValueHead)
        self._states: torch.Tensor | None = None  # last hidden states of the policy, (B, W, H)
        if self.is_head:
            without_adapter(policy).base_model.register_forward_hook(self._keep_states)

    @property
    def model(self) -> PreTrainedModel:
        """The submodule of the policy."""
        model: Any = self._policy.get_submodule(FOLDER)
        return model

    # ---- values of a ValueHead

    def _keep_states(self, _module: Any, _args: Any, output: Any) -> None:
        self._states = output.last_hidden_state

    def forget_states(self) -> None:
        """Call it before the pass whose values are read: generation also fills the states."""
        self._states = None

    def values_of_pass(self) -> torch.Tensor | None:
        """Values of the last pass, before each token but the first: (B, W - 1).

        None for a separate critic, and after a pass of the reference model.
        """
        if self._states is None:
            return None
        states, self._states = self._states[:, :-1], None
        return self.model(states)

    # ---- save and load, separately from the policy

    @contextmanager
    def detached(self) -> Iterator[PreTrainedModel]:
        """Context in which the policy is without the critic."""
        critic = self._policy._modules.pop(FOLDER)
        assert isinstance(critic, PreTrainedModel)
        try:
            yield critic
        finally:
            self._policy._modules[FOLDER] = critic

    def save(self, folder: str | Path, state: State | None = None) -> None:
        """Save to `folder`/critic.

        `state`: gathered by an engine (`split_state`), {} on processes that gathered nothing.
        """
        if state != {}:
            self.model.save_pretrained(Path(folder) / FOLDER, state_dict=state)

    def load(self, folder: str | Path) -> None:
        """Load the weights of `folder`/critic."""
        load_critic(self.model, folder)

    # ---- optimizer

    def split_parameters(
        self, model: torch.nn.Module
    ) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        """The parameters of policy and critic, of a `model` that an engine wrapped around both."""
        critic = list(self.model.parameters())
        own = {id(p) for p in critic}
        return [p for p in model.parameters() if id(p) not in own], critic

    def split_groups(self, optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        """Move the critic's parameters to groups with `learning_rate` and the same settings."""
        own = {id(p) for p in self.model.parameters()}
        for group in list(optimizer.param_groups):
            parameters = group["params"]
            group["params"] = [p for p in parameters if id(p) not in own]
            critic = [p for p in parameters if id(p) in own]
            if critic:
                own_group = {"params": critic, "lr": learning_rate, CRITIC_GROUP: True}
                optimizer.add_param_group({**group, **own_group})


def split_state(state: State | None) -> tuple[State | None, State | None]:
    """Split a gathered state dict of policy and critic into the policy's and the critic's.

    None, if nothing was gathered, gives (None, None): each module saves its own weights.
    """
    if state is None:
        return None, None
    prefix = FOLDER + "."
    critic = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return {k: v for k, v in state.items() if not k.startswith(prefix)}, critic


def load_critic(critic: PreTrainedModel, checkpoint: str | Path) -> None:
    """Load the weights in `checkpoint`/critic into `critic`.

    Raises:
        ValueError: the checkpoint has no critic, or one of the other kind (shared or separate).
    """
    folder = Path(checkpoint) / FOLDER
    if not (folder / "config.json").exists():
        raise ValueError(
            f"{checkpoint} has no {FOLDER}/ folder, so PPO cannot resume from it; "
            "start again (resume: false) with this model as init"
        )
    shared = isinstance(critic, ValueHead)
    written = PretrainedConfig.get_config_dict(folder)[0].get("model_type")
    if shared != (written == ValueHeadConfig.model_type):
        raise ValueError(
            f"{checkpoint} was written with shared_critic={str(not shared).lower()}; set that, or "
            "start again (resume: false)"
        )
    if shared:
        saved: PreTrainedModel = ValueHead.from_pretrained(folder, dtype=critic.dtype)
    else:
        saved = build_critic(folder, dtype=critic.dtype)
    critic.load_state_dict(saved.state_dict())
