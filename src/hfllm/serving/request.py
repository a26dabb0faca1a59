"""A chat completion's request: JSON -> what to generate, or what is wrong with it (400, 404)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hfllm.inference.prompts import Message
from hfllm.inference.sampling import Sampling
from hfllm.serving.errors import ApiError
from hfllm.serving.fields import flag, number, read_fields, whole
from hfllm.serving.limits import Limits
from hfllm.serving.messages import read_messages

MOST_STOPS, LONGEST_STOP, MOST_TOP_LOGPROBS = 16, 1000, 20


@dataclass(frozen=True)
class ChatRequest:
    """What to generate; the fields have OpenAI's names and meanings."""

    messages: list[Message]
    sampling: Sampling
    max_tokens: int | None  # None: what the limits leave
    n: int
    seed: int | None
    stop: tuple[str, ...]
    top_logprobs: int | None  # None: no log-probabilities
    stream: bool
    include_usage: bool  # at the end of a stream


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text; NaN and infinities are none.

    Raises:
        ApiError: it is no JSON.
    """

    def no_number(word: str) -> None:
        raise ValueError(f"{word} is no JSON number")

    try:
        return json.loads(raw, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(f"the body is no JSON: {why[:200]}") from None


def read_request(body: Any, model: str, limits: Limits, temperature: float) -> ChatRequest:
    """Check a request against the API, the model's name and the limits.

    Args:
        body: the parsed JSON.
        model: the name that is served.
        limits: of the server.
        temperature: where the request names none.

    Raises:
        ApiError: what is wrong, with the field.
    """
    fields = read_fields(body)
    if fields.get("model", model) != model:
        raise ApiError(
            f"there is no model {str(fields['model'])[:200]!r} here; this server has {model!r}",
            status=404,
            param="model",
            code="model_not_found",
        )
    messages = read_messages(fields.get("messages"))
    most = limits.at_once + limits.queue
    return ChatRequest(
        messages=messages,
        sampling=_sampling(fields, temperature),
        max_tokens=_max_tokens(fields, limits),
        n=whole(fields, "n", 1, 1, min(128, most)),
        seed=whole(fields, "seed", 0, -(2**63), 2**63 - 1) if "seed" in fields else None,
        stop=_stop(fields.get("stop", [])),
        top_logprobs=_top_logprobs(fields),
        stream=flag(fields, "stream"),
        include_usage=_include_usage(fields),
    )


def _sampling(fields: dict[str, Any], temperature: float) -> Sampling:
    top_k = whole(fields, "top_k", 0, -1, 2**31 - 1)  # -1: off, as vLLM has it
    return Sampling(
        temperature=number(fields, "temperature", temperature, 0, 2),
        top_p=number(fields, "top_p", 1, 0, 1),
        top_k=max(0, top_k),
        min_p=number(fields, "min_p", 0, 0, 1),
        frequency_penalty=number(fields, "frequency_penalty", 0, -2, 2),
        presence_penalty=number(fields, "presence_penalty", 0, -2, 2),
    )


def _max_tokens(fields: dict[str, Any], limits: Limits) -> int | None:
    named = [name for name in ("max_completion_tokens", "max_tokens") if name in fields]
    if not named:
        return None
    values = {whole(fields, name, 1, 1, limits.answer_tokens) for name in named}
    if len(values) > 1:
        raise ApiError("max_tokens and max_completion_tokens differ; send one", param="max_tokens")
    return values.pop()


def _stop(given: Any) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else given
    is_right = isinstance(stops, list) and len(stops) <= MOST_STOPS
    if not is_right or not all(isinstance(s, str) and 0 < len(s) <= LONGEST_STOP for s in stops):
        raise ApiError(
            f"stop must be a text, or a list of at most {MOST_STOPS} texts, of 1 to "
            f"{LONGEST_STOP:,} characters each",
            param="stop",
        )
    return tuple(stops)


def _top_logprobs(fields: dict[str, Any]) -> int | None:
    wanted = flag(fields, "logprobs")
    top = whole(fields, "top_logprobs", 0, 0, MOST_TOP_LOGPROBS)
    if top and not wanted:
        raise ApiError("top_logprobs needs logprobs to be true", param="top_logprobs")
    return top if wanted else None


def _include_usage(fields: dict[str, Any]) -> bool:
    options = fields.get("stream_options", {})
    known = ("include_usage", "include_obfuscation")
    if not isinstance(options, dict) or set(options) - set(known):
        raise ApiError(f"stream_options may hold {' and '.join(known)}", param="stream_options")
    if "stream_options" in fields and not flag(fields, "stream"):
        raise ApiError("stream_options needs stream to be true", param="stream_options")
    return flag(options, "include_usage")
