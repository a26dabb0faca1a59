"""A server in a thread, on a port that the system chooses, and a client of it."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass

from hfllm.inference.prompts import stop_ids
from hfllm.serving.app import Served, Service
from hfllm.serving.engine import Engine
from hfllm.serving.limits import Limits, fit_to
from hfllm.serving.server import Ready, answer, bind, url_of

SMALL = Limits(answer_tokens=64, at_once=64, queue=64, seconds=60)


def user(text):
    return [{"role": "user", "content": text}]


@dataclass
class Reply:
    status: int
    headers: dict
    raw: str

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def text(self):
        return self.json["choices"][0]["message"]["content"]

    @property
    def events(self):
        """The events of a stream; its end is checked."""
        lines = [line for line in self.raw.split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def joined(self, index=0):
        choices = [choice for e in self.events for choice in e["choices"]]
        return "".join(c["delta"].get("content", "") for c in choices if c["index"] == index)


@dataclass
class Client:
    url: str
    engine: Engine
    key: str | None = None
    service: Service | None = None

    def send(self, path, data=None, headers=None, timeout=60):
        given = {"Content-Type": "application/json", **(headers or {})}
        if self.key:
            given.setdefault("Authorization", f"Bearer {self.key}")
        request = urllib.request.Request(self.url + path, data=data, headers=given)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as got:
                return Reply(got.status, dict(got.headers), got.read().decode())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read().decode())

    def post(self, body, **options):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("/v1/chat/completions", raw, **options)

    def ask(self, text, **fields):
        body = {"messages": user(text), "temperature": 0, "max_tokens": 12, **fields}
        return self.post(body)


@contextmanager
def serving(model, tokenizer, limits=SMALL, stops=None, key=None, slow_s=0.0, way=None, grace=20.0):
    """A server in a thread; `slow_s` is added to every token, `stops` are its stop tokens."""
    stops = stop_ids(model, tokenizer) if stops is None else stops
    engine = Engine(model, stops, fit_to(limits, model))
    engine.way = way or engine.way
    hook = model.register_forward_pre_hook(lambda *_: time.sleep(slow_s)) if slow_s else None
    ready = Ready(engine, Service(engine, tokenizer, Served("tiny", 1.0, key)))
    loop, stop, listening = asyncio.new_event_loop(), asyncio.Event(), bind("127.0.0.1", 0)
    work = answer(ready, listening, stop, grace)
    thread = threading.Thread(target=lambda: loop.run_until_complete(work))
    thread.start()
    client = Client(url_of(listening), engine, key, ready.service)
    try:
        wait_for(lambda: reaches(client))
        yield client
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
        if hook:
            hook.remove()
    assert not thread.is_alive()


def reaches(client):
    try:
        return client.send("/health").status == 200
    except OSError:
        return False


def wait_for(what, seconds=20.0):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)
