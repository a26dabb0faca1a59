"""OpenAI's own client against the server: what it sends is taken, what comes back is read."""

import asyncio

import pytest
from serve_client import serving, user

openai = pytest.importorskip("openai")
ASKED = {"model": "tiny", "messages": user("Who is 1?"), "temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def theirs(model, tokenizer):
    with serving(model, tokenizer, key="abc") as ours:
        yield ours, openai.OpenAI(base_url=f"{ours.url}/v1", api_key="abc", max_retries=0)


def test_answers_whole_and_streamed(theirs):
    ours, client = theirs
    whole = client.chat.completions.create(**ASKED, logprobs=True, top_logprobs=2, n=2)
    assert [c.message.content for c in whole.choices] == [ours.ask("Who is 1?").text] * 2
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    chunks = list(
        client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens * 2 == whole.usage.completion_tokens
    extra = client.chat.completions.create(**ASKED, seed=1, extra_body={"top_k": 1, "min_p": 0.1})
    assert extra.choices[0].message.content == said


def test_an_answer_sent_back_is_a_message(theirs):
    _, client = theirs
    first = client.chat.completions.create(**ASKED).choices[0].message
    talk = [*ASKED["messages"], first, *user("And 2?")]
    assert client.chat.completions.create(**{**ASKED, "messages": talk}).choices
    talk[1] = first.model_dump()
    assert client.chat.completions.create(**{**ASKED, "messages": talk}).choices


def test_models(theirs):
    _, client = theirs
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "hfllm"


def test_errors_are_raised_by_their_kind(theirs):
    ours, client = theirs
    create = client.chat.completions.create
    with pytest.raises(openai.BadRequestError, match="temperature must be a number from 0 to 2"):
        create(**{**ASKED, "temperature": 3})
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        create(**{**ASKED, "model": "gpt-4"})
    wrong = openai.OpenAI(base_url=f"{ours.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.chat.completions.create(**ASKED)


def test_many_streams_at_once(theirs):
    ours, _ = theirs
    questions = [f"Who is number {i}?" for i in range(32)]
    expected = [ours.ask(text).text for text in questions]

    async def stream(client, text):
        asked = {**ASKED, "messages": user(text), "stream": True}
        chunks = await client.chat.completions.create(**asked)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{ours.url}/v1", api_key="abc") as client:
            return await asyncio.gather(*(stream(client, text) for text in questions))

    assert asyncio.run(all_of_them()) == expected
