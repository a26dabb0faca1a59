"""The critic: a value model V(state) per token, and its place inside the policy.

`build_critic` loads it (from a reward model: the head comes along, so values start near scores;
from a language model: the head starts at zero). `Critic` hangs it into the policy as the submodule
`critic`, so that one optimizer, one DDP or ZeRO engine and one backward see both, and takes it out
again where a library walks the policy's modules (saving, loading, weight sync to vLLM): the saved
policy is then an ordinary model folder, and the critic lies beside it in `critic/`.

Why a separate model by default: a policy that is trained whole changes under a head that reads it,
and its last hidden states are made for the next token. `ValueHead` (`shared_critic`) is the cheap
way: a linear map of the policy's own last hidden states, cut off from them in the backward, so that
the value loss never moves the policy and no second model runs. It suits adapters on a larger model.
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
from hfllm.rl.unpad import UnpaddedBatch

FOLDER = "critic"
State = dict[str, torch.Tensor]


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


def build_value_head(policy: PreTrainedModel) -> ValueHead:
    """A head for the trunk of `policy`."""
    hidden = policy.config.get_text_config().hidden_size
    return ValueHead(ValueHeadConfig(hidden_size=hidden))


def state_values(critic: PreTrainedModel, rows: UnpaddedBatch) -> torch.Tensor:
    """V(state before each of the answers' tokens), (B, T), float32.

    The value at token t is read at token t - 1, which has seen neither t nor later.
    """
    output = critic(input_ids=rows.ids, use_cache=False)
    return rows.repad(output.logits[:, :-1, 0].float())


def padded_state_values(
    critic: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int
) -> torch.Tensor:
    """The same of TRL's padded rows: ids and mask (B, P + T), the last `tokens` are T."""
    output = critic(input_ids=ids, attention_mask=mask, use_cache=False)
    return output.logits[:, -tokens - 1 : -1, 0].float()


class Critic:
    """The critic in its place, the submodule `critic` of a policy.

    The module is found there each time: an engine may put another around it.
    """

    def __init__(self, policy: torch.nn.Module, model: PreTrainedModel) -> None:
        """Hang `model` into `policy`; a `ValueHead` reads the last hidden states of its trunk."""
        policy.add_module(FOLDER, model)
        self._policy = policy
        self.is_head = isinstance(model, ValueHead)
        self._states: torch.Tensor | None = None  # the trunk's last, (B, W, H)
        if self.is_head:
            without_adapter(policy).base_model.register_forward_hook(self._keep_states)

    @property
    def model(self) -> PreTrainedModel:
        """The module in the policy."""
        model: Any = self._policy.get_submodule(FOLDER)
        return model

    # ---- values of a head on the trunk

    def _keep_states(self, _module: Any, _args: Any, output: Any) -> None:
        self._states = output.last_hidden_state

    def forget_states(self) -> None:
        """Call it before a pass that is to be read: generation ran the trunk too."""
        self._states = None

    def values_of_pass(self) -> torch.Tensor | None:
        """V before each token but the first of the last pass, (B, W - 1).

        None where the critic is a model of its own, and after a pass of the reference.
        """
        if self._states is None:
            return None
        states, self._states = self._states[:, :-1], None
        return self.model(states)

    # ---- beside the policy, not in it

    @contextmanager
    def detached(self) -> Iterator[PreTrainedModel]:
        """Inside, the policy is the plain model again; the critic comes back at the end."""
        critic = self._policy._modules.pop(FOLDER)
        assert isinstance(critic, PreTrainedModel)
        try:
            yield critic
        finally:
            self._policy._modules[FOLDER] = critic

    def save(self, folder: str | Path, state: State | None = None) -> None:
        """Write `folder`/critic.

        `state` is what an engine gathered (`split_state`), {} on the processes that hold nothing.
        """
        if state != {}:
            self.model.save_pretrained(Path(folder) / FOLDER, state_dict=state)

    def load(self, folder: str | Path) -> None:
        """Read the weights of `folder`/critic."""
        load_critic(self.model, folder)

    # ---- optimizer

    def split_parameters(
        self, model: torch.nn.Module
    ) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        """The policy's parameters and the critic's, of the `model` that an engine made of both."""
        critic = list(self.model.parameters())
        own = {id(p) for p in critic}
        return [p for p in model.parameters() if id(p) not in own], critic

    def split_groups(self, optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        """Give the critic parameter groups of its own: same settings, its own learning rate."""
        own = {id(p) for p in self.model.parameters()}
        for group in list(optimizer.param_groups):
            parameters = group["params"]
            group["params"] = [p for p in parameters if id(p) not in own]
            critic = [p for p in parameters if id(p) in own]
            if critic:
                optimizer.add_param_group({**group, "params": critic, "lr": learning_rate})


def split_state(state: State | None) -> tuple[State | None, State | None]:
    """A gathered state dict of the policy with its critic -> the policy's and the critic's own.

    None where nothing was gathered: each saves what it holds.
    """
    if state is None:
        return None, None
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
