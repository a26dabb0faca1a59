"""Write docs/reference.md: every recipe key with its type, its default, and what it does.

    python tools/reference.py            write it
    python tools/reference.py --check    exit with 1 if it is not what the code says

A step's own keys come from the `Config` classes and the comments beside their fields, `trainer:`
keys from the library's class: its type, its default or ours with the reason, and the first sentence
of its own help.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.stage import Stage
from hfllm.recipe.trainers import trainer_class
from hfllm.stages import find_stages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
HEADS = ["Key", "Type", "Default", "What it does"]
ORDER = (
    "world", "curate", "tokenizer", "pretrain", "sft", "dpo", "kto", "reward", "instructions",
    "ppo", "grpo", "rloo", "sample", "evaluate", "report",
)  # fmt: skip
TOP = {
    "name": "the run's folder under `run_dir`; default: the recipe's file name",
    "run_dir": "where runs are written; default: `runs`",
    "seed": "of every step that sets none; default: 0",
    "launch": "`config:` an accelerate config; training steps then run under `accelerate launch`",
    "track": "trackers of the training steps (`wandb`, ...), as in `report_to`",
    "vars": "values of the recipe's own, used as `${vars.NAME}`",
}


def main(words: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md (see the module).")
    parser.add_argument("--check", action="store_true")
    text = reference()
    if parser.parse_args(words).check:
        same = PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE}: {'as the code says' if same else 'old; run python tools/reference.py'}")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)
    return 0


def libraries() -> str:
    """The libraries whose keys and help stand in the reference."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("transformers", "trl"))


def reference() -> str:
    """The whole page."""
    stages = find_stages()
    parts = [
        "# All recipe keys",
        f"Written by `python tools/reference.py` ({libraries()}). `hfllm show RECIPE --step NAME` "
        "prints the values that a recipe gives, and where each comes from; for models above 50M "
        "parameters batch sizes and learning rates that a recipe leaves out are chosen for the "
        "model and the machine, and stand there too.",
        "## At the top of a recipe",
        md_table(["Key", "What it does"], [[f"`{k}`", v] for k, v in TOP.items()]),
        "Every other key is a step; its name is its stage's, or `stage:` says the stage "
        "(`stage: my_package.distill` for one of your own).",
    ]
    parts += ["## A source", first_paragraph(SourceConfig)]
    parts += [md_table(HEADS, list(keys(SourceConfig, "")))]
    for name in [*ORDER, *(name for name in stages if name not in ORDER)]:
        stage = stages[name]
        parts += [f"## {name}", first_paragraph(stage.config), step_table(stage)]
        if stage.trainer:
            parts += list(trainer_part(name, stage))
    parts += [
        "## The keys of transformers.TrainingArguments",
        "For the `trainer:` section of every training step; a stage's own defaults stand there.",
        trainer_table(TrainingArguments, {}, {}, set()),
    ]
    return "\n\n".join(parts) + "\n"


def first_paragraph(config: type) -> str:
    """What a config class says of itself; of a source, all of it."""
    return " ".join((inspect.getdoc(config) or "").split())


def step_table(stage: Stage) -> str:
    """The step's own keys, nested ones dotted."""
    rows = [row for row in keys(stage.config, "") if row[0] != "`trainer`"]
    return md_table(HEADS, rows)


def keys(config: type, prefix: str) -> Iterator[list[str]]:
    """A row for each field of a config class; dataclass fields are opened."""
    hints, said = typing.get_type_hints(config), comments(config)
    for field in dataclasses.fields(config):
        kind, name = hints[field.name], f"{prefix}{field.name}"
        inner = opened(kind)
        words = said.get(field.name, "")
        yield [f"`{name}`", type_words(kind), default_words(field), words or opening(inner)]
        if inner and inner is not SourceConfig:  # the keys of a source stand once
            mark = "[]." if typing.get_origin(kind) is list else ".NAME." if is_dict(kind) else "."
            yield from keys(inner, f"{name}{mark}")


def opened(kind: Any) -> type | None:
    """The dataclass that a field holds, alone, in a list or in a dict; None if it holds none."""
    found = [one for one in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(one)]
    return found[0] if found else None


def opening(config: type | None) -> str:
    """The first sentence of the docstring of the dataclass that a field holds."""
    if config is SourceConfig:
        return "see [A source](#a-source)"
    return first_sentence(inspect.getdoc(config) or "") if config else ""


def is_dict(kind: Any) -> bool:
    """Whether the field holds named entries."""
    return typing.get_origin(kind) is dict


def comments(config: type) -> dict[str, str]:
    """{field: the comment beside it, or in the lines above it}, base classes first."""
    found: dict[str, str] = {}
    for one in reversed(config.__mro__):
        if not dataclasses.is_dataclass(one):
            continue
        above: list[str] = []
        for line in inspect.getsource(one).splitlines():
            if match := re.match(r"    # ?(.*)", line):
                above.append(match[1])
                continue
            if match := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
                words = match[2] or " ".join(above)
                if words:
                    found[match[1]] = words
            above = []
    return found


def trainer_part(name: str, stage: Stage) -> Iterator[str]:
    """The `trainer:` section: our defaults, the class's own keys, and the keys set elsewhere."""
    made = trainer_class(stage)
    base = {field.name for field in dataclasses.fields(TrainingArguments)}
    yield f"### {name}.trainer: {stage.trainer.replace(':', '.')}"
    yield trainer_table(made, dict(stage.defaults), dict(stage.set_elsewhere), base)


def trainer_table(
    made: type, ours: dict[str, Any], elsewhere: dict[str, str], base: set[str]
) -> str:
    """Rows of a trainer's config class.

    Args:
        made: the class.
        ours: {key: (default, reason)} of the stage.
        elsewhere: {key: where it is set}.
        base: keys that stand in the table of TrainingArguments, shown here only if `ours` or
            `elsewhere` has them.
    """
    rows = []
    for field in dataclasses.fields(made):
        key = field.name
        if key in base and key not in ours and key not in elsewhere:
            continue
        words = first_sentence(str(field.metadata.get("help", "")))
        default = default_words(field)
        if key in elsewhere:
            default, words = "refused", elsewhere[key]
        elif key in ours:
            default = f"`{ours[key][0]}`: {ours[key][1]}"
        rows.append([f"`{key}`", type_words(field.type), default, words])
    return md_table(["Key", "Type", "Default", "What it does (the library's words)"], rows)


def type_words(kind: Any) -> str:
    """A type as it is written, without the modules."""
    words = kind if isinstance(kind, str) else str(kind) if typing.get_args(kind) else kind.__name__
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", words)


def default_words(field: Any) -> str:
    """A field's default as YAML would write it."""
    value: Any = field.default
    if value is dataclasses.MISSING:
        if field.default_factory is dataclasses.MISSING:
            return "must be set"
        value = field.default_factory()
    if value == "???":
        return "must be set"
    if dataclasses.is_dataclass(value):
        return ""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = str(getattr(value, "value", value))
    return f"`{text}`" if len(text) < 60 else "see below"


def first_sentence(text: str) -> str:
    """The first sentence of a help text, on one line."""
    flat = " ".join(text.split())
    return re.split(r"(?<=[a-z`)\]])\. (?=[A-Z`])", flat, maxsplit=1)[0].rstrip(".")


def md_table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in safe)


if __name__ == "__main__":
    sys.exit(main())
