"""Find before a run what `accelerate launch` could not start here with the recipe's options."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from hfllm.recipe.errors import first_line
from hfllm.recipe.launch_line import asked, config_file, options, read_config
from hfllm.recipe.load import launch_words
from hfllm.recipe.recipe import Recipe
from hfllm.runs import processes


def launch_file_problems(recipe: Recipe) -> list[str]:
    """What is wrong in the recipe's `launch:` and the files that it names; light."""
    config = recipe.launch.get("config", "")
    if config and not isinstance(config, str):
        return [f"launch.config: {config!r} is not a file's path"]
    if config and not Path(config).is_file():
        found = ", ".join(sorted(str(p) for p in Path("configs/accelerate").glob("*.yaml")))
        return [f"launch.config: no file {config}" + (f"; there are {found}" if found else "")]
    try:
        asked(launch_words(recipe.launch))
    except ValueError as error:
        return [f"launch: {error}"]
    return []


def launch_problems(words: list[str]) -> Iterator[str]:
    """What these options of `accelerate launch` cannot start on this machine; imports torch."""
    if not words:
        return
    if problem := _refused_by_accelerate(words):
        yield f"launch: {problem}"
        return
    given, file = options(words), config_file(words)
    config = read_config(file) if file else {}
    kind = str(config.get("distributed_type", "NO"))
    wanted = processes.asked_processes(words) or 1
    gpus = processes.count_gpus()
    if "cpu" in given and wanted > 1:
        yield (
            f"launch: accelerate starts one process with --cpu, not {wanted}; leave --cpu out and "
            "set ACCELERATE_USE_CPU=true in the environment, with --multi_gpu"
        )
    if (kind == "FSDP" or "use_fsdp" in given) and not gpus:
        yield (
            "launch: FSDP on a machine without a GPU is plain DDP under another name; use "
            "configs/accelerate/ddp.yaml or zero2.yaml"
        )
    if (kind == "DEEPSPEED" or "use_deepspeed" in given) and find_spec("deepspeed") is None:
        yield "launch: DeepSpeed is not installed; run `pip install deepspeed`"
    machines = given.get("num_machines") or config.get("num_machines") or 1
    here = wanted // max(1, int(machines))
    on_cpu = config.get("use_cpu") or "cpu" in given or processes.is_on("ACCELERATE_USE_CPU")
    if gpus and here > gpus and not on_cpu:
        yield f"launch: {here} processes on this machine, which has {gpus} GPUs; one a GPU"


def _refused_by_accelerate(words: list[str]) -> str | None:
    """What accelerate's own parser and reader say of the options and the config file, or None."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parsed = launch_command_parser().parse_args([*words, "script"])
            if file := config_file(words):
                load_config_from_file(str(file))
    except SystemExit:
        lines = said.getvalue().strip().splitlines()
        return lines[-1].partition("error: ")[2] if lines else "the options ask for help alone"
    except Exception as error:  # its classes refuse what they do not know in many ways
        return f"{config_file(words)}: {first_line(error)}"
    if parsed.training_script != "script":
        return f"accelerate_args: {parsed.training_script} is no option of the launcher"
    return None
