"""What `accelerate launch` was asked for, as keys of `trainer:` that the libraries would ignore.

transformers reads precision, accumulation and clipping from its TrainingArguments alone, so that
`--mixed_precision no` would silently train in bf16, and `--gradient_accumulation_steps 4` with 1.
Read here, the later winning: the DeepSpeed JSON, the accelerate config file, the launch line's
words. `build_trainer_config` takes them as values; a key that the recipe sets to something else is
an error that names both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hfllm.recipe.errors import first_line
from hfllm.recipe.hub_cache import hub_home
from hfllm.recipe.launcher import launcher_words

# set for the steps of `hfllm run`, which has default options
STARTED_BY_RUN = "HFLLM_STARTED_BY_RUN"
PRECISION = {
    "no": {"bf16": False, "fp16": False},
    "bf16": {"bf16": True, "fp16": False},
    "fp16": {"bf16": False, "fp16": True},
}
DEFAULT_CONFIG = "accelerate/default_config.yaml"  # below HF_HOME: what `accelerate config` writes
# keys of a DeepSpeed JSON, and of accelerate's `deepspeed_config`, that TrainingArguments have too
DEEPSPEED = {
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_clipping": "max_grad_norm",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "optimizer.params.lr": "learning_rate",
    "optimizer.params.eps": "adam_epsilon",
    "optimizer.params.weight_decay": "weight_decay",
    "fp16.enabled": "fp16",
    "bf16.enabled": "bf16",
}
# without these DeepSpeed does not clip, and accumulates by its own count
NEEDED = ("gradient_clipping", "gradient_accumulation_steps")
# asking for these changes nothing
LIBRARY_DEFAULTS = {"gradient_accumulation_steps": 1, "max_grad_norm": 1.0}


@dataclass(frozen=True)
class Asked:
    """A key of `trainer:`, the value that the launch asks for, and where it asks."""

    key: str
    value: Any
    where: str


def asked_here(of_recipe: list[str]) -> list[Asked]:
    """What the launch of this process asks for; `of_recipe`: the options of the recipe's `launch:`.

    `accelerate launch` by hand: its own words count. `hfllm run`, its steps, and a check before a
    run: the recipe's. torchrun, or no launcher: the environment's ACCELERATE_MIXED_PRECISION.
    """
    if STARTED_BY_RUN in os.environ:
        return asked(of_recipe)
    if words := launcher_words():
        return asked(words)
    of_recipe = [] if "TORCHELASTIC_RUN_ID" in os.environ else of_recipe
    value = os.environ.get("ACCELERATE_MIXED_PRECISION")
    if of_recipe or not value:
        return asked(of_recipe)
    return list(_precision(value, f"ACCELERATE_MIXED_PRECISION={value}"))


def asked(words: list[str]) -> list[Asked]:
    """What these words of a launch ask for; ValueError if a file that they name cannot be read."""
    given = options(words)
    file = config_file(words)
    config = read_config(file) if file else {}
    found = list(_of_deepspeed(given, config, str(file)))
    found += _of_config(config, str(file))
    for key in ("gradient_accumulation_steps", "gradient_clipping"):
        if key in given:
            found.append(Asked(DEEPSPEED[key], _number(given[key], key), f"--{key} {given[key]}"))
    if "mixed_precision" in given:
        value = given["mixed_precision"]
        found += _precision(value, f"--mixed_precision {value} on the launch line")
    if "cpu" in given:
        found.append(Asked("use_cpu", True, "--cpu on the launch line"))
    return list({one.key: one for one in found}.values())


def training_asked(words: list[str]) -> dict[str, Any]:
    """The trainer keys that a recipe's `launch:` changes for good: batch, clipping, optimizer.

    Precision and device are left out: without a word they follow the machine, as in the recipe.
    """
    try:
        found = {one.key: one.value for one in asked(words)}
    except ValueError:  # said by the checks before a run
        return {}
    ours = {key: value for key, value in found.items() if key not in ("bf16", "fp16", "use_cpu")}
    return {key: value for key, value in ours.items() if value != LIBRARY_DEFAULTS.get(key)}


def options(words: list[str]) -> dict[str, str]:
    """The options before the script's name: {name with underscores: value}; "" for a flag."""
    found: dict[str, str] = {}
    left = list(words if words and words[0].startswith("-") else words[1:])  # [0]: an executable
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("-"):
            continue
        key = name.lstrip("-").replace("-", "_")
        if key == "m" and left and left[0].startswith("accelerate."):
            continue  # python -m accelerate.commands.launch
        if key in ("m", "module"):
            break
        if not equals and left and not left[0].startswith("-") and not left[0].endswith(".py"):
            value = left.pop(0)
        found[key] = value  # the last one counts, as argparse has it
        if left and left[0].endswith(".py"):
            break
    return found


def config_file(words: list[str]) -> Path | None:
    """The accelerate config file that the launch reads: the one named, else the user's default."""
    if not words:
        return None
    given = options(words)
    if "config_file" in given:
        return Path(given["config_file"])
    default = hub_home() / DEFAULT_CONFIG
    return default if default.is_file() and "cpu" not in given else None


def read_config(file: Path) -> dict[str, Any]:
    """An accelerate config file; ValueError with one line if it is none."""
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8; save the file as UTF-8, or leave it out") from None
    except OSError as error:
        what = error.strerror or first_line(error)
        raise ValueError(f"{file}: cannot be read: {what}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{file}: not valid YAML{line}; mend it, or leave it out") from None
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise ValueError(f"{file}: not an accelerate config, which is a mapping")
    return config


def _precision(value: str, where: str) -> Iterator[Asked]:
    if value not in PRECISION:
        known = ", ".join(PRECISION)
        raise ValueError(f"{where}: hfllm trains in {known}; set one of them, or leave it out")
    for key, on in PRECISION[value].items():
        yield Asked(key, on, where)


def _of_config(config: dict[str, Any], file: str) -> Iterator[Asked]:
    value = config.get("mixed_precision")
    if value is not None:
        name = "no" if value is False else str(value)  # YAML reads an unquoted `no` as false
        yield from _precision(name, f"mixed_precision: {name} in {file}")
    if config.get("use_cpu") is True:
        yield Asked("use_cpu", True, f"use_cpu: true in {file}")
    section = config.get("deepspeed_config") or {}
    for key in NEEDED:
        value = section.get(key, "auto")
        if value not in ("auto", None):
            yield Asked(DEEPSPEED[key], _number(value, key), f"{key}: {value} in {file}")


def _of_deepspeed(given: dict[str, str], config: dict[str, Any], file: str) -> Iterator[Asked]:
    """The values of a DeepSpeed JSON that are not "auto"; ValueError where a needed one lacks."""
    section = config.get("deepspeed_config") or {}
    path = given.get("deepspeed_config_file") or section.get("deepspeed_config_file")
    if path is None:
        return
    values = _read_json(Path(str(path)), file)
    for key in NEEDED:
        if key not in values:
            effect = "clip" if key == "gradient_clipping" else "accumulate as the trainer does"
            raise ValueError(
                f'{path}: has no {key}, and DeepSpeed would silently not {effect}: add "{key}": '
                '"auto"'
            )
    for dotted, key in DEEPSPEED.items():
        value: Any = values
        for part in dotted.split("."):
            value = value.get(part, "auto") if isinstance(value, dict) else "auto"
        if value != "auto":
            yield Asked(key, value, f"{dotted}: {json.dumps(value)} in {path}")


def _read_json(path: Path, named_by: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{named_by}: deepspeed_config_file: no file {path}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {first_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: not a DeepSpeed config, which is a mapping")
    return values


def _number(value: Any, key: str) -> int | float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key}: {value!r} on the launch is not a number") from None
    return int(number) if key == "gradient_accumulation_steps" else number
