"""Muon for hidden matrices and AdamW for all other parameters, as one torch optimizer for Trainer.

Muon orthogonalises the updates of matrices, so embeddings, head, norms and biases are left to
AdamW. With `match_rms_adamw` both use the same learning rate: Muon's update is scaled to the root
mean square that AdamW's would have. Source: Jordan et al. 2024 (Muon); Liu et al. 2025 (Muon is
scalable), section 2.2, for the scaling. For the cost of a step see fast_cpu/stacked_muon.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hfllm.fast_cpu.stacked_muon import StackedMuon
from hfllm.recipe.checks import OPTIMIZERS
from hfllm.recipe.did_you_mean import did_you_mean

MUON_ARGS = {"ns_steps": int, "momentum": float}  # what trainer.optim_args may set


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon and AdamW with one list of `param_groups`, so that a scheduler sees one optimizer.

    Args:
        params: Trainer's parameter groups, each with its `weight_decay`.
        muon_ids: `id`s of the parameters for Muon (`muon_parameters`).
        kwargs: lr, weight_decay, muon_args, betas, eps (`optimizer_factory`).
    """

    def __init__(self, params: list[dict[str, Any]], muon_ids: set[int], **kwargs: Any) -> None:
        lr, weight_decay = kwargs["lr"], kwargs["weight_decay"]
        matrices, others = [], []
        for group in params:
            hidden = [p for p in group["params"] if id(p) in muon_ids]
            rest = [p for p in group["params"] if id(p) not in muon_ids]
            decay = group.get("weight_decay", weight_decay)
            if hidden:
                matrices.append({"params": hidden, "weight_decay": decay})
            if rest:
                others.append({"params": rest, "weight_decay": decay})
        self.muon = StackedMuon(
            matrices, lr=lr, adjust_lr_fn="match_rms_adamw", **kwargs["muon_args"]
        )
        self.adamw = torch.optim.AdamW(others, lr=lr, betas=kwargs["betas"], eps=kwargs["eps"])
        super().__init__(self.muon.param_groups + self.adamw.param_groups, {"lr": lr})
        # the same dicts, not copies, so that a scheduler sets lr in both optimizers
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One step of both optimizers."""
        loss = None if closure is None else closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of both optimizers."""
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """{"muon": state of Muon, "adamw": state of AdamW}."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


def muon_parameters(model: nn.Module) -> set[int]:
    """`id`s of all matrices except embeddings, output head and score head."""
    getters = ("get_input_embeddings", "get_output_embeddings")  # a classifier lacks the second
    modules = [getattr(model, name)() for name in getters if hasattr(model, name)]
    outside = {id(p) for module in modules if module is not None for p in module.parameters()}
    outside |= {id(p) for p in getattr(model, "score", nn.Module()).parameters()}
    return {id(p) for p in model.parameters() if p.ndim == 2 and id(p) not in outside}


def optimizer_factory(
    name: str | None, model: nn.Module, args: Any
) -> tuple[type, dict[str, Any]] | None:
    """The value of `Trainer(optimizer_cls_and_kwargs=...)`.

    Args:
        name: the recipe's `optimizer`; None: Trainer builds `trainer.optim`.
        model: its hidden matrices are optimised by Muon.
        args: TrainingArguments: learning rate, weight decay, betas, eps, `optim_args`.

    Raises:
        ValueError: an unknown name, DeepSpeed, or an option that Muon does not have.
    """
    if name is None:
        return None
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: '{name}' is none of {', '.join(OPTIMIZERS)}, null")
    if args.deepspeed_plugin is not None:
        raise ValueError(
            f"optimizer: {name} needs whole matrices and DeepSpeed flattens them; "
            "leave it out (optimizer=null), or train with DDP"
        )
    kwargs = {
        "muon_ids": muon_parameters(model),
        "lr": args.learning_rate,
        "weight_decay": args.weight_decay,
        "muon_args": _muon_args(args.optim_args),
        "betas": (args.adam_beta1, args.adam_beta2),
        "eps": args.adam_epsilon,
    }
    return MuonWithAdamW, kwargs


def _muon_args(text: str | None) -> dict[str, Any]:
    """`trainer.optim_args` ("ns_steps=4,momentum=0.9") as Muon's keyword arguments."""
    options: dict[str, Any] = {"momentum": 0.95}
    for pair in (text or "").replace(" ", "").split(","):
        if not pair:
            continue
        key, _, value = pair.partition("=")
        if key not in MUON_ARGS:
            hint = did_you_mean(key, MUON_ARGS)
            raise ValueError(
                f"trainer.optim_args: '{key}' is no option of muon ({', '.join(MUON_ARGS)}).{hint}"
            )
        try:
            options[key] = MUON_ARGS[key](value)
        except ValueError:
            kind = MUON_ARGS[key].__name__
            raise ValueError(f"trainer.optim_args: {key} takes {kind}, not '{value}'") from None
    return options
