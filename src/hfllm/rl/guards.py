"""What PPO on TRL gets silently wrong, refused before the first rollout with one line each."""

import inspect
import re
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from hfllm.fast_cpu import SWITCH
from hfllm.modeling.adapters import without_adapter
from hfllm.modeling.eval_mode import eval_mode
from hfllm.rl.config import PPOConfig

_POSITION_TABLE = re.compile(r"(^|\.)(wpe|\w*position_embedding\w*|embed_positions|pos_emb\w*)$")


def check_rollout_fits(args: PPOConfig, dataset: Any) -> None:
    """A data set smaller than one rollout trains 0 steps: the sampler drops the partial batch.

    Raises:
        ValueError: if `dataset` has fewer prompts than one rollout needs.
    """
    needed = (args.generation_batch_size or 1) // (args.num_generations or 1)
    if hasattr(dataset, "__len__") and len(dataset) < needed:
        raise ValueError(
            f"{len(dataset)} prompts are fewer than the {needed} of one rollout, nothing would be "
            "trained: add prompts or lower per_device_train_batch_size or steps_per_generation"
        )


def _position_tables(model: torch.nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding) and _POSITION_TABLE.search(name)
    ]


def check_positions(model: torch.nn.Module) -> None:
    """`generate` tells a left-padded row's positions to models that take them, and to no others.

    Only others that seem to have a table of positions pay the two tiny forwards of the proof.

    Raises:
        ValueError: if left padding changes the logits (BART's decoder).
    """
    tables = _position_tables(model)
    plain = without_adapter(model)
    if not tables or "position_ids" in inspect.signature(plain.forward).parameters:
        return
    ids = torch.tensor([[1, 2, 3, 4]], device=next(model.parameters()).device)
    padded = torch.cat([ids[:, :3], ids], dim=1)
    mask = torch.ones_like(padded)
    mask[:, :3] = 0
    with eval_mode(model):
        alone = model(input_ids=ids).logits[:, -1].float()
        shifted = model(input_ids=padded, attention_mask=mask).logits[:, -1].float()
    if not torch.allclose(alone, shifted, atol=1e-2):
        raise ValueError(
            f"{type(plain).__name__} has a table of positions ({tables[0]}) but no position_ids: "
            "left padding shifts them while it samples, use another model"
        )


def check_padded_rows(model: torch.nn.Module) -> None:
    """TRL's padded rows have positions from the first column on, padding counted.

    Raises:
        ValueError: the model has a table of positions, so that they would shift its answers.
    """
    tables = _position_tables(model)
    if tables:
        raise ValueError(
            f"{SWITCH}: the model has a table of positions ({tables[0]}), which trl's padded rows "
            "would shift: leave unpad on"
        )


def check_policy_folder(
    model: str | PreTrainedModel, args: PPOConfig, peft_config: Any = None
) -> None:
    """With beta, TRL reads the reference from the folder that the policy was loaded from.

    Raises:
        ValueError: if the policy was made in memory and so has no such folder.
    """
    if args.beta == 0.0 or peft_config is not None or isinstance(model, str):
        return
    if hasattr(model, "peft_config") or model.config._name_or_path:
        return
    raise ValueError(
        "the policy was not loaded from a folder, so there is no reference for the KL: "
        "save it and load it with from_pretrained, or set beta=0"
    )


def check_reference(policy: PreTrainedModel, reference: torch.nn.Module) -> None:
    """The reference must be the policy before training, weight for weight.

    It is not where the policy was changed after loading, or came from another file of its folder.

    Raises:
        ValueError: naming the first parameter that differs.
    """
    theirs = dict(reference.named_parameters())
    for name, parameter in policy.named_parameters():
        other = theirs.get(name)
        if hasattr(parameter, "ds_id") or hasattr(other, "ds_id"):  # ZeRO-3: only shards here
            return
        if isinstance(other, DTensor):  # FSDP2: TRL has sharded the reference by now
            other = other.full_tensor()
            if torch.distributed.get_rank():  # may hold no weights until they are shared out
                continue
        if other is None or not torch.equal(parameter, other.to(parameter)):
            raise ValueError(
                f"the reference read from {policy.config._name_or_path} differs from the policy "
                f"in {name}: save the policy and load it from that folder before PPO"
            )
