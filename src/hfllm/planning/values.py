"""The trainer's values that a plan reads, as `recipe.trainers` would merge them, without imports.

In order, the later winning: library default (trainer_fields.py), the stage's default, the device
(bf16), what was chosen for the model, the launch, the recipe. A key that the class does not have,
or that is set elsewhere, is refused as `hfllm run --dry-run` refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfllm.planning.trainer_fields import UNREADABLE, trainer_fields
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.trainers import launch_asks
from hfllm.recipe.training import TRAINER_ELSEWHERE

# where the source cannot tell; `gradient_checkpointing` is the older name of the first
DEFAULTS = {
    "activation_checkpointing": False,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_steps": -1,
    "num_train_epochs": 3.0,
    "optim": "adamw_torch_fused",
    "bf16": False,
    "fp16": False,
}
CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
WHOLE = ("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
         "num_generations", "num_iterations", "steps_per_generation",
         "generation_batch_size")  # fmt: skip
# bytes of optimizer state a trained parameter, by the beginning of its name; others are taken as 8
STATES = {
    "adamw_torch_8bit": 2, "adamw_torch_4bit": 1, "adamw_bnb_8bit": 2, "adamw_8bit": 2,
    "paged_adamw_8bit": 2, "adamw": 8, "paged_adamw": 8, "adafactor": 0.1, "sgd": 0,
    "lion_8bit": 1, "lion": 4, "adagrad": 4, "rmsprop": 4, "ademamix_8bit": 3, "ademamix": 12,
}  # fmt: skip


def field_problems(spec: StepSpec) -> Iterator[str]:
    """One line for each key of `trainer:` that the class does not have or that is set elsewhere."""
    assert spec.stage.trainer is not None
    fields = trainer_fields(spec.stage.trainer)
    elsewhere = TRAINER_ELSEWHERE | dict(spec.stage.set_elsewhere)
    known = {*(fields or ()), *CHECKPOINTING}
    for key in spec.config.trainer:
        if key in elsewhere:
            yield f"{spec.name}.trainer.{key}: {elsewhere[key]}"
        elif fields is not None and key not in known:
            hint = did_you_mean(key, known)
            yield f"{spec.name}.trainer.{key}: Key '{key}' not in '{_class(spec)}'.{hint}"


def _class(spec: StepSpec) -> str:
    return str(spec.stage.trainer).split(":")[1]


class TrainerValues:
    """The merged values of one step; `values[key]` is None for a key that its class lacks."""

    def __init__(self, spec: StepSpec, bf16: bool) -> None:
        """`bf16`: whether the device has it; it is used where the recipe asks for nothing else."""
        assert spec.stage.trainer is not None
        self.spec = spec
        library = trainer_fields(spec.stage.trainer)
        if library is None:
            library = _imported(spec)
        asked = {one.key: one.value for one in launch_asks(spec)}
        chosen = {key: value for key, (value, _) in spec.chosen.items()}
        given = asked | spec.config.trainer | spec.forced
        self.values = {**DEFAULTS, **_readable(library), **spec.stage.default_values()}
        self.values |= {"bf16": bf16 and not given.get("fp16"), "fp16": False} | chosen | given
        # of the two names of one key the recipe's counts, then the stage's
        asked_for = [given[key] for key in CHECKPOINTING if key in given]
        self.checkpointing = bool(asked_for[0]) if asked_for else self._of_stage()

    def _of_stage(self) -> bool:
        defaults = self.spec.stage.default_values()
        found = [defaults[key] for key in CHECKPOINTING if key in defaults]
        return bool(found[0] if found else any(self.values.get(key) for key in CHECKPOINTING))

    def __getitem__(self, key: str) -> Any:
        """A value; ValueError (one line) if it is not of the kind that a plan can read."""
        value = self.values.get(key)
        wrong = f"{self.spec.name}.trainer.{key}: {value!r} is not"
        if key in WHOLE and value is not None and (type(value) is not int):
            raise ValueError(f"{wrong} a whole number")
        if key == "num_train_epochs" and not isinstance(value, int | float):
            raise ValueError(f"{wrong} a number")
        return value

    @property
    def half(self) -> bool:
        """Whether products are in bf16 or fp16."""
        return bool(self.values["bf16"] or self.values["fp16"])

    @property
    def micro(self) -> int:
        """Rows of a micro-batch on a device."""
        return self._positive("per_device_train_batch_size")

    @property
    def accumulation(self) -> int:
        """Micro-batches of an optimizer step."""
        return self._positive("gradient_accumulation_steps")

    def _positive(self, key: str) -> int:
        if (value := self[key]) is None or value < 1:
            raise ValueError(f"{self.spec.name}.trainer.{key}: must be at least 1")
        return int(value)

    @property
    def state_bytes(self) -> tuple[float, str]:
        """Bytes of optimizer state a trained parameter, and a remark where they are not known."""
        name = str(self.values["optim"]).split(".")[-1].lower()
        found = next((name for name in [name] if name in STATES), None)
        key = found or next(
            (k for k in sorted(STATES, key=len, reverse=True) if name.startswith(k)), None
        )
        if key is None:
            return 8.0, f"optimizer {name}: its states are not known here; taken as AdamW's"
        return float(STATES[key]), ""

    @property
    def sampled(self) -> int:
        """Rows whose answers a device writes at once; 0 where nothing is sampled."""
        if "num_generations" not in self.values:
            return 0
        if per := self["steps_per_generation"]:
            return self.micro * int(per)
        return self.micro * self.accumulation


def _readable(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not UNREADABLE}


def _imported(spec: StepSpec) -> dict[str, Any]:
    """The fields of the class itself; imports the libraries."""
    import dataclasses

    from hfllm.recipe.trainers import trainer_class

    missing = dataclasses.MISSING
    return {f.name: f.default for f in dataclasses.fields(trainer_class(spec.stage))
            if f.default is not missing}  # fmt: skip
