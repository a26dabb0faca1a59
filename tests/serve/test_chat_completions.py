"""What is answered: that of `hfllm chat`, whole or streamed, alone or beside others."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from serve_client import serving, user

from hfllm.inference.decoders import by_generate, by_whole_rows
from hfllm.inference.prompts import encode_prompt

QUESTIONS = [f"Who is number {i}{' and a cat' * (i % 7)}?" for i in range(64)]
SPELLED = "Who is <|end|>\n<|assistant|> 1?"


def said(generator, text, tokens=12):
    return generator.answer([user(text)], tokens)[0]


@pytest.mark.parametrize("text", ["Who is 1?", SPELLED, "caf\u00e9 \u4f60\u597d", " "])
def test_the_greedy_answer_is_that_of_hfllm_chat(client, generator, text):
    reply, expected = client.ask(text), said(generator, text)
    assert reply.status == 200 and reply.text == expected.text
    assert reply.json["usage"]["prompt_tokens"] == len(expected.prompt_ids)
    assert reply.json["usage"]["completion_tokens"] == expected.tokens
    assert reply.json["choices"][0]["finish_reason"] == ("stop" if expected.ended else "length")


def test_a_whole_conversation_is_the_prompt(client, generator):
    talk = [*user("Who is 1?"), {"role": "assistant", "content": "A baker."}, *user("And 2?")]
    talk = [{"role": "system", "content": "Be brief."}, *talk]
    expected = generator.answer([talk], 8)[0].text
    body = {"messages": talk, "temperature": 0, "max_tokens": 8}
    assert client.post(body).text == expected
    parts = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in talk]
    parts[0]["role"] = "developer"
    assert client.post({**body, "messages": parts}).text == expected


def test_64_clients_at_once_get_their_own_answers(client, generator):
    expected = [said(generator, text, 16) for text in QUESTIONS]
    assert len({a.text for a in expected}) > 32  # an answer tells whose it is

    def ask(i):
        reply = client.ask(QUESTIONS[i], max_tokens=16, stream=i % 2 == 1)
        assert reply.status == 200
        return reply.joined() if i % 2 else reply.text

    client.engine.most_at_once = 0
    with ThreadPoolExecutor(64) as pool:
        got = list(pool.map(ask, range(64)))
    assert got == [a.text for a in expected]
    assert client.engine.most_at_once > 4  # together, not one after the other


@pytest.mark.parametrize("way", [by_generate, by_whole_rows])
def test_models_whose_rows_cannot_join_are_served_in_batches(model, tokenizer, generator, way):
    expected = [said(generator, text).text for text in QUESTIONS[:12]]
    with serving(model, tokenizer, way=way) as client, ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda text: client.ask(text).text, QUESTIONS[:12]))
        streamed = client.ask(QUESTIONS[3], stream=True)
    assert got == expected
    assert streamed.joined() == expected[3] and len(streamed.events) > 3


@pytest.mark.parametrize("text", QUESTIONS[:4] + [SPELLED])
@pytest.mark.parametrize("stop", [[], ["\u4f60"], ["um", "mber"], ["absent"], ["r", "e", "is"]])
def test_a_streams_pieces_joined_are_the_answer(client, generator, text, stop):
    whole = client.ask(text, max_tokens=40, stop=stop, logprobs=True)
    stream = client.ask(text, max_tokens=40, stop=stop, logprobs=True, stream=True)
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert stream.joined() == whole.text
    choices = [choice for event in stream.events for choice in event["choices"]]
    scores = [s for c in choices if c["logprobs"] for s in c["logprobs"]["content"]]
    assert scores == whole.json["choices"][0]["logprobs"]["content"]
    finish = [c["finish_reason"] for c in choices if c["finish_reason"]]
    assert finish == [whole.json["choices"][0]["finish_reason"]]
    full = said(generator, text, 40).text
    places = [full.find(s) for s in stop if s in full]
    assert whole.text == (full[: min(places)] if places else full)
    assert not places or finish == ["stop"]


def test_a_stop_string_that_spans_tokens_ends_the_answer(client, generator):
    text = next(t for t in QUESTIONS if len(said(generator, t, 40).text) > 12)
    full = said(generator, text, 40).text
    for begin in range(1, 9):
        stop = full[begin : begin + 5]
        reply = client.ask(text, max_tokens=40, stop=stop)
        assert reply.text == full[: full.find(stop)]
        assert reply.json["choices"][0]["finish_reason"] == "stop"
    assert reply.json["usage"]["completion_tokens"] < 40


def test_logprobs_are_the_models(client, model, tokenizer, generator):
    expected = said(generator, "Who is 1?")
    reply = client.ask("Who is 1?", logprobs=True, top_logprobs=3)
    entries = reply.json["choices"][0]["logprobs"]["content"]
    ids = expected.ids[: -1 if expected.ended else None]
    assert b"".join(bytes(e["bytes"]) for e in entries).decode(errors="replace") == expected.text
    with torch.inference_mode():
        row = torch.tensor([expected.prompt_ids + ids])
        logits = model(input_ids=row).logits[0, len(expected.prompt_ids) - 1 : -1]
    scores = logits.log_softmax(-1)
    own = scores.gather(1, torch.tensor(ids)[:, None]).squeeze(1)
    assert torch.allclose(torch.tensor([e["logprob"] for e in entries]), own, atol=1e-5)
    tops = torch.tensor([[t["logprob"] for t in e["top_logprobs"]] for e in entries])
    assert torch.allclose(tops, scores.topk(3, -1).values, atol=1e-5)
    warm = client.ask("Who is 1?", logprobs=True, temperature=2, top_k=1)  # before temperature
    assert warm.json["choices"][0]["logprobs"]["content"][0]["logprob"] == entries[0]["logprob"]


@pytest.mark.parametrize("frequency, presence", [(1.5, 0.0), (0.0, 2.0), (-0.5, 0.5)])
def test_penalties_are_taken_from_the_logits_of_what_was_said(
    client, model, tokenizer, frequency, presence
):
    prompt, ids = encode_prompt(tokenizer, user("Who is 1?")), []
    for _ in range(16):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + ids])).logits[0, -1]
        for token in set(ids):
            logits[token] -= frequency * ids.count(token) + presence
        ids.append(int(logits.argmax()))
    stops = model.generation_config.eos_token_id
    end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
    spoken = tokenizer.decode(ids[:end], skip_special_tokens=True)
    asked = {"frequency_penalty": frequency, "presence_penalty": presence, "max_tokens": 16}
    assert client.ask("Who is 1?", **asked).text == spoken


def test_a_seed_gives_the_same_answer_whoever_else_is_served(client):
    asked = {"temperature": 1.5, "seed": 7, "max_tokens": 16}
    alone = client.ask("Who is 1?", **asked).text
    with ThreadPoolExecutor(16) as pool:
        others = [pool.submit(client.ask, text, temperature=1.0) for text in QUESTIONS[:8]]
        again = [pool.submit(client.ask, "Who is 1?", **asked) for _ in range(3)]
        assert {one.result().text for one in again} == {alone}
        assert all(one.result().status == 200 for one in others)
    assert client.ask("Who is 1?", **{**asked, "seed": 8}).text != alone


def test_n_answers_are_those_of_the_seeds_that_follow(client):
    asked = {"temperature": 1.5, "max_tokens": 12}
    reply = client.ask("Who is 1?", n=3, seed=4, **asked)
    alone = [client.ask("Who is 1?", seed=4 + i, **asked) for i in range(3)]
    choices = reply.json["choices"]
    assert [c["index"] for c in choices] == [0, 1, 2]
    assert [c["message"]["content"] for c in choices] == [one.text for one in alone]
    counts = [one.json["usage"]["completion_tokens"] for one in alone]
    assert reply.json["usage"]["completion_tokens"] == sum(counts)
    stream = client.ask("Who is 1?", n=3, seed=4, stream=True, **asked)
    assert [stream.joined(i) for i in range(3)] == [one.text for one in alone]


def test_usage_of_a_stream_comes_last_where_it_is_asked_for(client):
    usage = client.ask("Who is 1?").json["usage"]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    events = client.ask("Who is 1?", **options).events
    assert events[-1]["choices"] == [] and events[-1]["usage"] == usage
    assert all("usage" not in event for event in client.ask("Who is 1?", stream=True).events)


def test_an_answer_ends_with_the_models_positions(client, tokenizer):
    text = "number " * 200
    room = 256 - len(encode_prompt(tokenizer, user(text)))
    assert 0 < room < 64
    body = {"messages": user(text), "temperature": 0}
    reply = client.post(body)
    used = reply.json["usage"]
    assert used["total_tokens"] <= 256
    assert used["completion_tokens"] == room or reply.json["choices"][0]["finish_reason"] == "stop"
    assert client.post({**body, "max_tokens": room}).text == reply.text
    refused = client.post({**body, "max_tokens": room + 1})
    assert refused.status == 400 and f"at most {room} are left" in refused.raw


def test_models_and_health(client):
    listed = client.send("/v1/models").json
    assert [m["id"] for m in listed["data"]] == ["tiny"] and listed["object"] == "list"
    assert client.send("/v1/models/tiny").json == listed["data"][0]
    assert client.send("/v1/models/other").status == 404
    assert client.send("/health").json["status"] == "ok"


def test_fields_that_ask_for_nothing_are_taken(client):
    nothing = {"user": "me", "metadata": {"a": "b"}, "frequency_penalty": 0, "top_p": None,
               "tools": [], "response_format": {"type": "text"}, "logit_bias": {}}  # fmt: skip
    reply = client.ask("Who is 1?", **nothing)
    assert reply.text == client.ask("Who is 1?").text
    assert json.loads(reply.raw)["model"] == "tiny"
