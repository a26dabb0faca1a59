"""Checks before the first rollout, for errors of a trainer on GRPOTrainer that would be silent."""

import re
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl import GRPOConfig

from hfllm.fast_cpu import SWITCH
from hfllm.inference.decoders import is_right, padded_generate
from hfllm.modeling.adapters import without_adapter
from hfllm.modeling.eval_mode import eval_mode
from hfllm.runs.processes import is_main_process

_POSITION_TABLE = re.compile(r"(^|\.)(wpe|\w*position_embedding\w*|embed_positions|pos_emb\w*)$")


def check_rollout_fits(args: GRPOConfig, dataset: Any) -> None:
    """Check that there are prompts for one rollout: TRL's sampler drops a partial one.

    Raises:
        ValueError: `dataset` has fewer prompts than one rollout, so that 0 steps would be trained.
    """
    needed = (args.generation_batch_size or 1) // (args.num_generations or 1)
    if hasattr(dataset, "__len__") and len(dataset) < needed:
        raise ValueError(
            f"{len(dataset)} prompts are fewer than the {needed} of one rollout, nothing would be "
            "trained; add prompts, or lower per_device_train_batch_size or steps_per_generation"
        )


def _position_tables(model: torch.nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding) and _POSITION_TABLE.search(name)
    ]


def check_left_padding(model: torch.nn.Module) -> None:
    """Check that the policy samples its own tokens: `generate` on prompts padded on the left.

    Tried on a few tokens by the main process; a sharded model (ZeRO-3) is not tried.

    Raises:
        ValueError: padding or the cache changes the logits (BART's positions, RWKV's state).
    """
    plain: Any = without_adapter(model)
    if not is_main_process() or any(p.numel() == 0 for p in plain.parameters()):
        return
    with eval_mode(plain):
        if is_right(plain, padded_generate):
            return
    raise ValueError(
        f"{type(plain).__name__} gives other tokens when it samples in batches (prompts padded on "
        "the left, one cache) than without them: use another model"
    )


def check_padded_rows(model: torch.nn.Module) -> None:
    """Check a model for rows as TRL pads them: its positions count the padding on the left.

    Raises:
        ValueError: the model has a position embedding, so that log-probabilities would change.
    """
    tables = _position_tables(model)
    if tables:
        raise ValueError(
            f"{SWITCH}: the model has a table of positions ({tables[0]}), which TRL's padded rows "
            "would shift; leave unpad on"
        )


def check_policy_folder(
    model: str | PreTrainedModel, args: GRPOConfig, peft_config: Any = None
) -> None:
    """Check that TRL can load the reference, for which it uses the policy's own folder.

    Args:
        model: the policy, or its folder.
        args: with beta 0 there is no reference.
        peft_config: with an adapter the reference is the policy without it.

    Raises:
        ValueError: the policy was not loaded from a folder.
    """
    if args.beta == 0.0 or peft_config is not None or isinstance(model, str):
        return
    if hasattr(model, "peft_config") or model.config._name_or_path:
        return
    raise ValueError(
        "the policy was not loaded from a folder, so there is no reference for the KL; "
        "save it and load it with from_pretrained, or set beta=0"
    )


def check_reference(policy: PreTrainedModel, reference: torch.nn.Module) -> None:
    """Check that the reference equals the policy before training.

    It differs if the policy was changed after loading, or loaded from another file of its folder.

    Raises:
        ValueError: naming the first parameter that differs.
    """
    references = dict(reference.named_parameters())
    for name, parameter in policy.named_parameters():
        other = references.get(name)
        if hasattr(parameter, "ds_id") or hasattr(other, "ds_id"):  # ZeRO-3: only shards here
            return
        if isinstance(other, DTensor):  # FSDP2: TRL has sharded the reference by now
            other = other.full_tensor()
            if torch.distributed.get_rank():  # its policy may have no weights before FSDP's sync
                continue
        if other is None or not torch.equal(parameter, other.to(parameter)):
            raise ValueError(
                f"the reference read from {policy.config._name_or_path} differs from the policy "
                f"in {name}; save the policy and load it from that folder before training"
            )
