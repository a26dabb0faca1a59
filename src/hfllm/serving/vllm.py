"""`hfllm serve --engine vllm`: vLLM's own server, where it is installed, with our limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from hfllm.serving.options import Options


def run_vllm(engine: str, model: str, options: Options) -> None:
    """Replace this process by `vllm serve`.

    Raises:
        ValueError: the engine has another name, or vLLM is not installed (one line).
    """
    if engine != "vllm":
        raise ValueError(f"--engine: {engine!r} is none; hfllm or vllm")
    program = shutil.which("vllm")
    if program is None:
        raise ValueError(
            "--engine vllm: vLLM is not installed; install it (pip install vllm, GPUs), or leave "
            "the option out"
        )
    from hfllm.inference.load import find_model  # imports torch, which takes seconds

    folder = find_model(model)
    key = options.read_key()
    environment = {**os.environ, **({"VLLM_API_KEY": key} if key else {})}
    run(command(program, folder, options.name or model, options), environment)


def command(program: str, folder: str, name: str, options: Options) -> list[str]:
    """The command line; the key goes through the environment, where no list of processes shows it.

    vLLM bounds prompt and answer together. It has no bound of what waits and none of time.
    """
    limits = options.limits
    line = [program, "serve", folder, "--host", options.host, "--port", str(options.port)]
    line += ["--served-model-name", name, "--max-num-seqs", str(limits.at_once)]
    if limits.prompt_tokens:
        line += ["--max-model-len", str(limits.prompt_tokens + limits.answer_tokens)]
    return line


def run(line: list[str], environment: Mapping[str, str]) -> None:
    """Become this program; signals reach it directly."""
    os.execve(line[0], line, dict(environment))
