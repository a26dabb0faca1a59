"""The HTTP side: routes, the API key, errors in OpenAI's shape, answers whole or streamed.

    GET /health                 without a key: answers that run and wait
    GET /v1/models              the one model
    POST /v1/chat/completions   see request.py

This thread reads, checks and writes; prompts are rendered in a second one, and a third one, the
engine's, generates. Each has a tokenizer of its own where it changes one. When a client goes away
its handler is cancelled, and with it the rows of its request.
"""

from __future__ import annotations

import asyncio
import copy
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from aiohttp import web
from transformers import PreTrainedTokenizerBase

from hfllm.inference.prompts import Message, encode_prompt
from hfllm.serving.completions import Completion
from hfllm.serving.engine import Closing, Engine, Full
from hfllm.serving.errors import ApiError
from hfllm.serving.replies import UNFINISHED, Handler, checked, errors, stream
from hfllm.serving.request import ChatRequest, parse_json, read_request
from hfllm.serving.rows import Piece, Row
from hfllm.serving.text import TextStream
from hfllm.serving.token_names import TokenNames

BUSY = "the server has as many requests as it takes; try again later"
WRITE_SECONDS = 30.0  # beyond the request's own time: a client that does not read is left


@dataclass(frozen=True)
class Served:
    """What requests do not choose."""

    name: str  # of the model
    temperature: float = 1.0  # where a request names none: OpenAI's
    key: str | None = None  # API key


class Service:
    """Answers requests with one engine.

    Args:
        engine: started.
        tokenizer: with a chat template.
        served: the model's name, the key, the default temperature.
    """

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, served: Served) -> None:
        self.engine, self.served, self.limits = engine, served, engine.limits
        self.tokenizer, self.decoder = tokenizer, copy.deepcopy(tokenizer)
        self.names = TokenNames(self.decoder)
        self.renderer = ThreadPoolExecutor(1, "renderer")
        self.created = int(time.time())

    def app(self) -> web.Application:
        """The application; its handlers must be cancelled when a client goes away."""
        app = web.Application(
            middlewares=[errors, self.check_key], client_max_size=self.limits.body_bytes
        )
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name:.+}", self.model)
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    @web.middleware
    async def check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request without the key, where there is one."""
        if self.served.key is not None and request.path != "/health":
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            right = hmac.compare_digest(
                given.strip().encode(errors="replace"), self.served.key.encode()
            )
            if not right or scheme.lower() != "bearer":
                raise ApiError(
                    "wrong or no API key: send it as `Authorization: Bearer KEY`",
                    status=401,
                    code="invalid_api_key",
                )
        return await handler(request)

    async def health(self, _: web.Request) -> web.Response:
        """200 while answers can be generated, else 503."""
        if not self.engine.alive or self.engine.closing:
            raise ApiError("the server is ending", status=503)
        counts = {"running": len(self.engine.active), "waiting": len(self.engine.waiting)}
        return web.json_response({"status": "ok", **counts})

    def _model(self) -> dict[str, Any]:
        name, created = self.served.name, self.created
        return {"id": name, "object": "model", "created": created, "owned_by": "hfllm"}

    async def models(self, _: web.Request) -> web.Response:
        """The list of the one model."""
        return web.json_response({"object": "list", "data": [self._model()]})

    async def model(self, request: web.Request) -> web.Response:
        """The model, by its name."""
        if request.match_info["name"] != self.served.name:
            raise ApiError("no such model", status=404, code="model_not_found")
        return web.json_response(self._model())

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat."""
        deadline = time.monotonic() + self.limits.seconds
        if request.content_type != "application/json":
            raise ApiError("send the header Content-Type: application/json", status=415)
        try:
            async with asyncio.timeout(self.limits.seconds + WRITE_SECONDS):
                body = parse_json(await request.read())
                asked = read_request(body, self.served.name, self.limits, self.served.temperature)
                prompt = await self._render(asked.messages)
                return await self._answer(request, asked, prompt, deadline)
        except TimeoutError:
            raise ApiError("sending, answering or reading took too long", status=408) from None

    async def _render(self, messages: list[Message]) -> list[int]:
        """Token ids of the prompt.

        Raises:
            ApiError: the chat template refuses it, or it is too long.
        """
        loop = asyncio.get_running_loop()
        try:
            ids = await loop.run_in_executor(self.renderer, encode_prompt, self.tokenizer, messages)
        except ValueError as error:
            why = " ".join(str(error).split())[:500]
            raise ApiError(why, param="messages") from None
        if len(ids) > self.limits.prompt_tokens:
            raise ApiError(
                f"the prompt has {len(ids):,} tokens; at most {self.limits.prompt_tokens:,} are "
                "taken here: shorten the messages",
                param="messages",
                code="context_length_exceeded",
            )
        return ids

    async def _answer(
        self, request: web.Request, asked: ChatRequest, prompt: list[int], deadline: float
    ) -> web.StreamResponse:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece]()

        def send(piece: Piece) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        most = self._most(asked, len(prompt))
        names = None if asked.top_logprobs is None else self.names
        completion = Completion(self.served.name, len(prompt), asked.n, names)
        rows = [
            Row(
                index=i,
                prompt=prompt,
                most=most,
                sampling=asked.sampling,
                random=_random(asked.seed, i),
                text=TextStream(self.decoder, asked.stop),
                top_logprobs=asked.top_logprobs,
                deadline=deadline,
                send=send,
            )
            for i in range(asked.n)
        ]
        self._submit(rows)
        try:
            if asked.stream:
                return await stream(request, completion, pieces, asked.include_usage)
            while not completion.is_whole:
                completion.take(checked(await pieces.get()))
            return web.json_response(completion.whole())
        finally:
            self.engine.cancel(rows)

    def _most(self, asked: ChatRequest, prompt_tokens: int) -> int:
        """Tokens that the answer may have.

        Raises:
            ApiError: prompt and answer together are too long.
        """
        room = self.limits.total_tokens - prompt_tokens
        if asked.max_tokens is not None and asked.max_tokens > room:
            raise ApiError(
                f"the prompt's {prompt_tokens:,} tokens and max_tokens {asked.max_tokens:,} are "
                f"more than {self.limits.total_tokens:,}: at most {room:,} are left for the answer",
                param="max_tokens",
                code="context_length_exceeded",
            )
        return asked.max_tokens or min(room, self.limits.answer_tokens)

    def _submit(self, rows: list[Row]) -> None:
        try:
            self.engine.submit(rows)
        except Full:
            raise ApiError(BUSY, status=429, code="rate_limit_exceeded") from None
        except Closing:
            raise ApiError(UNFINISHED["closing"], status=503) from None


def _random(seed: int | None, index: int) -> torch.Generator:
    """The random numbers of an answer; with a seed always the same."""
    stream = torch.Generator()
    if seed is None:
        stream.seed()
    else:
        stream.manual_seed((seed + index) % 2**63)
    return stream
