"""Requests that are wrong: a 4xx in OpenAI's shape, never a 500."""

import copy
import json
import random

import pytest
from serve_client import serving, user

GOOD = {"model": "tiny", "messages": user("Who is 1?"), "max_tokens": 2, "temperature": 0}
DEEP = b'{"messages": ' + b"[" * 100_000
WRONG = {
    "messages": [None, [], {}, "hi", 3, [3], [None], [[]], [{}], [{"role": "user"}],
                 [{"content": "x"}], [{"role": "nobody", "content": "x"}],
                 [{"role": "tool", "content": "x"}], [{"role": 3, "content": "x"}],
                 [{"role": ["user"], "content": "x"}], [{"role": "user", "content": 3}],
                 [{"role": "user", "content": None}], [{"role": "user", "content": []}],
                 [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
                 [{"role": "user", "content": [{"type": "text", "text": 3}]}],
                 [{"role": "user", "content": "\ud800"}], user("word " * 3000),
                 [{"role": "user", "content": "x", "contents": "y"}],
                 [{"role": "assistant", "content": "x", "tool_calls": [{"id": "a"}]}]],
    "model": ["other", 3, [], "tiny ", "\ud800"],
    "max_tokens": [-1, 0, 1.5, "x", True, [], 10**30, 10_000],
    "max_completion_tokens": [-1, 3],
    "temperature": [-1, "hot", True, 10**400, 2.1, []],
    "top_p": [-0.1, 7, "x", {}],
    "top_k": [-2, 1.5, "x", 10**30],
    "min_p": [-1, 2, "x"],
    "seed": ["x", 1.5, 10**40, True],
    "stop": [3, [3], [""], "", ["a"] * 17, "x" * 2000, {}],
    "n": [0, -1, 1.5, "x", 10**9, 129],
    "logprobs": [1, "true", 3],
    "top_logprobs": [1, -1, 21, "x"],
    "stream": [1, "yes", []],
    "stream_options": [{}, [], {"include": True}],
    "tools": [[{"type": "function"}], "x", {}],
    "tool_choice": ["required", {}],
    "response_format": [{"type": "json_object"}, 3],
    "frequency_penalty": [2.1, "x", False],
    "presence_penalty": [-2.1, []],
    "repetition_penalty": [1.1, "x"],
    "logit_bias": [{"50": 1}],
    "max_token": [3],
    "\ud800": [3],
}  # fmt: skip
CASES = [(name, value) for name, values in WRONG.items() for value in values]


def is_an_error(reply):
    error = reply.json["error"]
    assert set(reply.json) == {"error"} and set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and len(error["message"]) < 600
    assert "Traceback" not in reply.raw and "\n" not in error["message"]
    return 400 <= reply.status < 500


def test_every_wrong_value_is_refused_with_its_field(client):
    for name, value in CASES:
        reply = client.post({**GOOD, name: value})
        if name == "messages" and value is None:
            reply = client.post({k: v for k, v in GOOD.items() if k != name})
        assert is_an_error(reply), (name, value, reply)
        assert reply.json["error"]["param"] is not None, (name, value)
    assert client.post(GOOD).status == 200


@pytest.mark.parametrize(
    "raw",
    [b"", b"{nope", b"[1]", b"null", b'"x"', b"\xff\xfe\x00", b"{}", DEEP, b"9" * 10_000,
     json.dumps({**GOOD, "temperature": float("nan")}).encode(),
     json.dumps({**GOOD, "top_p": float("inf")}).encode(),
     json.dumps(GOOD).replace('"temperature": 0', '"temperature": 1e999').encode(),
     b'{"messages": [{"role": "user", "content": "\xff"}]}'],
)  # fmt: skip
def test_bodies_that_are_no_request(client, raw):
    reply = client.post(raw)
    assert reply.status == 400 and is_an_error(reply)


def test_a_typo_is_told_with_the_field_that_is_meant(client):
    assert "Did you mean: 'max_tokens'" in client.post({**GOOD, "max_token": 3}).raw


def test_an_unknown_model_is_a_404_and_names_the_one_served(client):
    reply = client.post({**GOOD, "model": "gpt-4"})
    assert reply.status == 404 and reply.json["error"]["code"] == "model_not_found"
    assert "'tiny'" in reply.raw


def test_a_body_that_is_too_large(client):
    reply = client.post(b" " * (client.engine.limits.body_bytes + 10))
    assert reply.status == 413 and is_an_error(reply)


def test_other_paths_methods_and_types(client):
    for path, data, headers, status in (
        ("/v1/nothing", None, {}, 404),
        ("/v1/chat/completions", None, {}, 405),
        ("/v1/models", b"{}", {}, 405),
        ("/v1/chat/completions", b"{}", {"Content-Type": "text/plain"}, 415),
        ("/v1/chat/completions", b"{}", {"Content-Encoding": "gzip"}, 400),
    ):
        reply = client.send(path, data, headers)
        assert reply.status == status and is_an_error(reply), path


def test_what_the_chat_template_refuses_is_told(model, tokenizer):
    with serving(model, copy.deepcopy(tokenizer)) as client:
        template = "{{ raise_exception('roles must\\nalternate') }}"
        client.service.tokenizer.chat_template = template
        reply = client.post(GOOD)
    assert is_an_error(reply) and "roles must alternate" in reply.raw


def test_no_mixture_of_values_makes_a_500(client):
    draw = random.Random(0)
    odd = [None, -1, 0, 1, 3.5, "", "x", [], {}, [{}], True, 10**30, "\ud800", user("Who?")]
    names = [*WRONG, "user", "functions"]
    for _ in range(300):
        body = {**GOOD, **{draw.choice(names): draw.choice(odd) for _ in range(2)}}
        reply = client.post(body)
        assert reply.status == 200 or is_an_error(reply), (body, reply)
