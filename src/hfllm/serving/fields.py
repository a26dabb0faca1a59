"""The fields of a chat completion's request: which are read, change nothing, or are refused.

OpenAI's API refuses a field that it does not know, so a typo is found; the same here. A field of
OpenAI's that would change the answer and is not offered here is refused too, except with the value
that asks for nothing. null is the same as leaving a field out, as its clients send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.serving.errors import ApiError

READ = (
    "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "seed",
    "stop", "n", "logprobs", "top_logprobs",
)  # fmt: skip
# What a client says of itself, or asks of OpenAI's own machinery; the answer is the same without.
NO_EFFECT = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "parallel_tool_calls",
)  # fmt: skip
# Not offered here; only these values ask for nothing.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
}


def read_fields(body: Any) -> dict[str, Any]:
    """The fields of READ that are given.

    Raises:
        ApiError: the body is no object; a field is unknown, or asks for what is not offered.
    """
    if not isinstance(body, dict):
        raise ApiError("the body must be a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name in NEUTRAL:
            if not any(value == one and type(value) is not bool for one in NEUTRAL[name]):
                raise ApiError(f"{name} is not offered by this server; leave it out", param=name)
        elif name not in READ and name not in NO_EFFECT:
            known = [*READ, *NO_EFFECT, *NEUTRAL]
            raise ApiError(
                f"unrecognized field {name[:60]!r}; leave it out.{did_you_mean(name, known)}",
                param=name[:60],
            )
    return {name: given[name] for name in READ if name in given}


def number(
    fields: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    """A number from `least` to `most`.

    Raises:
        ApiError: it is none.
    """
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ApiError(f"{name} must be a number from {least:g} to {most:g}", param=name)
    return float(value)


def whole(fields: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A whole number from `least` to `most`.

    Raises:
        ApiError: it is none.
    """
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(f"{name} must be a whole number from {least:,} to {most:,}", param=name)
    return value


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """True or false; false where it is left out.

    Raises:
        ApiError: it is neither.
    """
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ApiError(f"{name} must be true or false", param=name)
    return value
