"""`hfllm serve`: bind the port, load the model, answer until a signal, end what was begun.

The port is bound before the model is loaded, so that a port in use is told at once, and listened on
when the model is ready. On SIGTERM or Ctrl-C nothing more is taken on, what runs and waits is
answered for `grace` seconds, and the process ends with 0; a second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from transformers import PreTrainedTokenizerBase

from hfllm.inference.chat import better_model
from hfllm.inference.load import find_model, is_chat_model, load_model
from hfllm.inference.prompts import encode_prompt, stop_ids
from hfllm.serving.app import Served, Service
from hfllm.serving.engine import Engine
from hfllm.serving.limits import fit_to
from hfllm.serving.options import Options

SIGNALS = (signal.SIGTERM, signal.SIGINT)
WRITE_SECONDS = 5.0  # for answers that are generated to be written


@dataclass
class Ready:
    """A model that can be served, and its engine, not yet started."""

    engine: Engine
    service: Service


def serve(model: str, options: Options) -> None:
    """Serve a model until a signal.

    Args:
        model: folder (or run step), hub id or .gguf file of a chat model.
        options: the verb's.

    Raises:
        ValueError: no chat model there, the port is in use, or a limit is too large (one line).
    """
    key = options.read_key()
    with bind(options.host, options.port) as listening:
        ready = prepare(model, options, key)
        lines = opening(model, ready, listening, options)
        asyncio.run(answer_until_signal(ready, listening, lines, options.grace))
    if ready.engine.alive:  # in a round that does not end: leave without torch's abort
        sys.stdout.flush()
        os._exit(0)


def bind(host: str, port: int) -> socket.socket:
    """A socket that has the port and does not listen yet.

    Raises:
        ValueError: the address cannot be had (one line).
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        raise _no_address(host, port, error) from None
    return listening


def _no_address(host: str, port: int, error: Exception) -> ValueError:
    why = getattr(error, "strerror", None) or str(error)
    return ValueError(
        f"--host {host} --port {port}: {why.lower()}; choose others (--port 0: any free one)"
    )


def prepare(model: str, options: Options, key: str | None) -> Ready:
    """Load the model, and try how its rows can be decoded together.

    Raises:
        ValueError: it is no chat model, or a limit is beyond it (one line).
    """
    folder = find_model(model)
    if not is_chat_model(folder):
        hint = better_model(folder).replace("hfllm chat", "hfllm serve").split(", or pass")[0]
        raise ValueError(f"{model} is a base model, which answers no chat: {hint}")
    loaded, tokenizer = load_model(folder)
    probe = encode_prompt(tokenizer, [{"role": "user", "content": "Hello"}])
    limits = fit_to(options.limits, loaded)
    if len(probe) > limits.prompt_tokens:
        raise ValueError(
            f"--max-prompt-tokens: {limits.prompt_tokens:,} are too few; a prompt of one word has "
            f"{len(probe):,}"
        )
    engine = Engine(loaded, stop_ids(loaded, tokenizer), limits)
    served = Served(options.name or model, options.temperature, key)
    return Ready(engine, Service(engine, tokenizer, served))


def url_of(listening: socket.socket) -> str:
    """The address of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def opening(model: str, ready: Ready, listening: socket.socket, options: Options) -> list[str]:
    """What is served where, within which limits, and how to try it."""
    url, limits, service = url_of(listening), ready.engine.limits, ready.service
    hello = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": service.served.name, "messages": hello})
    key = " -H 'Authorization: Bearer KEY'" if service.served.key else ""
    lines = [
        f"serving {model} as {service.served.name!r} at {url}/v1 ({_weights(ready.engine.model)})",
        f"chat template: {_template(service.tokenizer, ready.engine.model)}",
        f"limits: prompt {limits.prompt_tokens:,} tokens, answer {limits.answer_tokens:,}, "
        f"{limits.at_once} answers at once{'' if ready.engine.way is None else ' (in batches)'}, "
        f"{limits.queue} waiting, {limits.seconds:g} s a request; "
        f"temperature {service.served.temperature:g} unless asked; "
        f"{'with an API key' if key else 'no API key'}",
        f"try: curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} "
        f"-d {shlex.quote(body)}",
    ]
    if not key and not is_loopback(listening):
        lines.append("note: anyone who reaches this machine can use it: no API key is set")
    return lines


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches the address."""
    host = listening.getsockname()[0]
    return host == "::1" or host.startswith("127.")


def _weights(model: Any) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    kind = str(model.dtype).removeprefix("torch.")
    return f"{model.config.model_type}, {count:,} parameters, {kind}, {model.device}"


def _template(tokenizer: PreTrainedTokenizerBase, model: Any) -> str:
    stops = tokenizer.convert_ids_to_tokens(sorted(stop_ids(model, tokenizer)))
    return f"the model's own; an answer ends with {' or '.join(map(str, stops))}"


async def answer_until_signal(
    ready: Ready, listening: socket.socket, lines: list[str], grace: float
) -> None:
    """Answer requests until a signal comes, then end; print the lines when they can come.

    Raises:
        ValueError: another process has come to listen on the port (one line).
    """
    try:
        listening.listen()
    except OSError as error:
        host, port = listening.getsockname()[:2]
        raise _no_address(host, port, error) from None
    print("\n".join(lines), flush=True)  # a request waits until `answer` takes it
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def signalled() -> None:
        if stop.is_set():
            os._exit(1)  # the second signal: at once
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, signalled)
    await answer(ready, listening, stop, grace)


async def answer(ready: Ready, listening: socket.socket, stop: asyncio.Event, grace: float) -> None:
    """Answer requests until `stop` is set, then what was begun, for at most `grace` seconds."""
    quiet = logging.getLogger("hfllm.serving")  # of clients' broken HTTP, which gets its 400
    quiet.setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        ready.service.app(),
        handler_cancellation=True,  # a client that goes away frees its place
        access_log=None,
        logger=quiet,
        shutdown_timeout=WRITE_SECONDS,
    )
    await runner.setup()
    engine = ready.engine
    engine.start()
    site = web.SockSite(runner, listening)
    await site.start()
    await stop.wait()
    held = len(engine.active) + len(engine.waiting)
    print(f"ending: {held} answers are under way, {grace:g} s for them at most", flush=True)
    left = await asyncio.to_thread(engine.close, grace)
    await runner.cleanup()
    print(
        f"ended: {engine.answered:,} answers, {engine.generated:,} tokens, at most "
        f"{engine.most_at_once} at once{f'; {left} given up' if left else ''}",
        flush=True,
    )
