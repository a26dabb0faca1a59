"""`hfllm serve MODEL`: an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfllm.verbs.errors import at_least, clear_errors


def serve(
    model: Annotated[
        str, typer.Argument(help="a folder (runs/demo/ppo/model), a hub id or a .gguf file")
    ],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="the model's name in requests; default: MODEL")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="a file with the key that clients must send")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="an environment variable with that key")
    ] = None,
    temperature: Annotated[float, typer.Option(help="where a request names none")] = 1.0,
    max_prompt_tokens: Annotated[
        int | None, typer.Option(help="default: what the model and the memory allow")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="longest answer")] = 1024,
    at_once: Annotated[int, typer.Option(help="answers generated together")] = 64,
    queue: Annotated[int, typer.Option(help="answers that may wait; more get a 429")] = 256,
    seconds: Annotated[float, typer.Option(help="for one request, waiting included")] = 600,
    grace: Annotated[float, typer.Option(help="seconds to end what runs, after SIGTERM")] = 30,
    engine: Annotated[str, typer.Option(help="hfllm, or vllm where it is installed")] = "hfllm",
) -> None:
    """Serve a chat model over HTTP, by OpenAI's API: /v1/chat/completions, /v1/models, /health."""
    with clear_errors():
        from hfllm.recipe.hub import require_model
        from hfllm.serving.limits import Limits
        from hfllm.serving.options import Options

        at_least(0, port=port, temperature=temperature, queue=queue, grace=grace)
        at_least(1, max_prompt_tokens=max_prompt_tokens, max_new_tokens=max_new_tokens)
        at_least(1, at_once=at_once, seconds=seconds)
        limits = Limits(max_prompt_tokens or 0, max_new_tokens, at_once, queue, seconds)
        options = Options(limits, host, port, name, temperature, api_key_file, api_key_env, grace)
        options.check()
        require_model(model)  # before torch is imported, which takes seconds
        if engine != "hfllm":
            from hfllm.serving.vllm import run_vllm

            run_vllm(engine, model, options)
            return
        from hfllm.runs.quiet import quiet_libraries

        quiet_libraries()  # before transformers is imported
        from hfllm.serving.server import serve as serve_model

        serve_model(model, options)
