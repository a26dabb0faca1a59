"""Limits, the key, clients that go away, and how the server ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from serve_client import SMALL, Client, serving, user, wait_for

from hfllm.serving.limits import Limits, fit_to
from hfllm.serving.options import Options

ENDLESS: set[int] = set()  # no token ends an answer
LONG = {"messages": user("Who is 1?"), "temperature": 0, "max_tokens": 64}


def test_a_full_queue_is_a_429_and_what_was_taken_on_is_answered(model, tokenizer):
    limits = replace(SMALL, at_once=2, queue=2)
    with serving(model, tokenizer, limits, ENDLESS, slow_s=0.005) as client:
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda _: client.post(LONG), range(12)))
        statuses = [reply.status for reply in replies]
        assert set(statuses) == {200, 429} and 4 <= statuses.count(200) < 12
        refused = next(reply for reply in replies if reply.status == 429)
        assert refused.json["error"]["type"] == "rate_limit_error"
        assert refused.headers["Retry-After"] == "1"
        assert len({reply.text for reply in replies if reply.status == 200}) == 1
        assert client.engine.most_at_once == 2
        assert client.post({**LONG, "n": 5}).status == 400
        assert client.post(LONG).status == 200


def test_a_request_that_waits_too_long_is_a_503(model, tokenizer):
    with serving(model, tokenizer, replace(SMALL, at_once=1), ENDLESS, slow_s=0.03) as client:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.post, LONG)
            wait_for(lambda: client.engine.active)
            client.service.limits = replace(client.service.limits, seconds=0.3)
            second = pool.submit(client.post, {**LONG, "stream": True}).result()
        assert second.status == 503 and second.json["error"]["code"] == "late"
        assert first.result().json["usage"]["completion_tokens"] == 64


def test_an_answer_that_takes_too_long_ends_as_it_is(model, tokenizer):
    with serving(model, tokenizer, replace(SMALL, seconds=1), ENDLESS, slow_s=0.05) as client:
        cut = client.post(LONG)
    assert cut.status == 200 and cut.json["choices"][0]["finish_reason"] == "length"
    assert 0 < cut.json["usage"]["completion_tokens"] < 64


def test_a_stream_that_cannot_be_finished_in_time_is_cut_not_ended(model, tokenizer, monkeypatch):
    monkeypatch.setattr("hfllm.serving.app.WRITE_SECONDS", -1.0)
    limits = replace(SMALL, seconds=2.5)  # the handler has 1.5 s, the answer takes 3.2
    with serving(model, tokenizer, limits, ENDLESS, slow_s=0.05) as client:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            client.post({**LONG, "stream": True})
        wait_for(lambda: not client.engine.active)
        assert client.post(LONG).status == 408
        wait_for(lambda: not client.engine.active)
        client.service.limits = replace(client.service.limits, seconds=60)
        assert client.post({**LONG, "max_tokens": 1}).status == 200


def test_rows_that_do_not_fit_into_memory_together_wait(model, tokenizer, monkeypatch):
    monkeypatch.setattr("hfllm.serving.limits._cache_tokens", lambda _: 160)  # two of 73 tokens
    with serving(model, tokenizer, stops=ENDLESS, slow_s=0.002) as client:
        assert client.engine.limits.total_tokens == 160
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: client.post(LONG), range(8)))
        assert {reply.status for reply in replies} == {200}
        assert client.engine.most_at_once == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_place(model, tokenizer, stream):
    with serving(model, tokenizer, replace(SMALL, at_once=1), ENDLESS, slow_s=0.06) as client:
        host, port = client.url.removeprefix("http://").split(":")
        gone = http.client.HTTPConnection(host, int(port))
        body = str({**LONG, "stream": stream}).replace("'", '"').replace("False", "false")
        gone.request("POST", "/v1/chat/completions", body.replace("True", "true"),
                     {"Content-Type": "application/json"})  # fmt: skip
        wait_for(lambda: client.engine.active)
        begun = time.monotonic()
        gone.sock.close()
        gone.close()
        wait_for(lambda: not client.engine.active)
        assert time.monotonic() - begun < 3  # all 64 tokens take 3.8 s
        assert client.ask("Who is 1?", max_tokens=2).status == 200
        wait_for(lambda: client.engine.answered == 1)


def test_a_failure_in_the_model_is_a_500_and_the_server_goes_on(model, tokenizer, capfd):
    with serving(model, tokenizer) as client:
        expected = client.ask("Who is 1?").text
        hook = model.register_forward_pre_hook(lambda *_: 1 / 0)
        reply = client.ask("Who is 1?")
        hook.remove()
        assert reply.status == 500 and reply.json["error"]["type"] == "server_error"
        assert "division" not in reply.raw
        assert client.ask("Who is 1?").text == expected
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_the_key_is_asked_for_and_never_printed(model, tokenizer, capfd):
    with serving(model, tokenizer, key="s3cret-käy") as client:
        health = Client(client.url, client.engine)
        assert health.send("/health").status == 200
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret-k"}):
            reply = health.post(LONG, headers=given)
            assert reply.status == 401 and reply.json["error"]["code"] == "invalid_api_key"
            assert "s3cret" not in reply.raw
        right = {"Authorization": "Bearer s3cret-käy".encode().decode("latin-1")}
        assert health.send("/v1/models", headers=right).status == 200
    out = capfd.readouterr()
    assert "s3cret" not in out.out + out.err


def test_where_the_key_comes_from(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert Options(Limits(), api_key_file=file).read_key() == "abc"
    monkeypatch.setenv("MY_KEY", "def")
    assert Options(Limits(), api_key_env="MY_KEY").read_key() == "def"
    assert Options(Limits()).read_key() is None
    for wrong in (
        {"api_key_env": "sk-typed-the-key"},
        {"api_key_file": tmp_path / "sk-typed-the-key"},
        {"api_key_file": tmp_path},
        {"api_key_file": file, "api_key_env": "MY_KEY"},
    ):
        with pytest.raises(ValueError) as error:
            Options(Limits(), **wrong).read_key()
        assert "sk-typed" not in str(error.value) and "\n" not in str(error.value)


def test_limits_beyond_the_model_are_refused(model):
    with pytest.raises(
        ValueError, match="--max-prompt-tokens: 256 are too many; the model has 256"
    ):
        fit_to(Limits(prompt_tokens=256), model)
    assert fit_to(Limits(), model).prompt_tokens == 255


def test_at_the_end_what_runs_and_waits_is_answered(model, tokenizer):
    limits = replace(SMALL, at_once=1)
    with serving(model, tokenizer, limits, ENDLESS, slow_s=0.005) as client:
        pool = ThreadPoolExecutor(3)
        held = [pool.submit(client.post, LONG) for _ in range(3)]
        wait_for(lambda: len(client.engine.active) + len(client.engine.waiting) == 3)
    assert [one.result().status for one in held] == [200] * 3
    with pytest.raises(OSError):
        client.send("/health", timeout=2)


def test_at_the_end_of_its_grace_the_rest_is_told_so(model, tokenizer):
    with serving(model, tokenizer, stops=ENDLESS, slow_s=0.05, grace=0.3) as client:
        pool = ThreadPoolExecutor(2)
        whole = pool.submit(client.post, LONG)
        stream = pool.submit(client.post, {**LONG, "stream": True})
        wait_for(lambda: len(client.engine.active) == 2)
    assert not client.engine.alive
    assert whole.result().status == 503 and whole.result().json["error"]["code"] == "closing"
    assert '"code": "closing"' in stream.result().raw and "[DONE]" not in stream.result().raw


def command(*arguments):
    line = [sys.executable, "-m", "hfllm", "serve", *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment)  # fmt: skip


def test_the_verb_says_how_to_try_it_and_ends_on_sigterm(folder):
    process = command(folder, "--port", 0, "--name", "tiny", "--max-new-tokens", 32)
    try:
        head = [process.stdout.readline() for _ in range(4)]
        assert "serving" in head[0] and "as 'tiny' at http://127.0.0.1:" in head[0]
        assert "<|end|>" in head[1] and "answer 32" in head[2]
        line = head[3].removeprefix("try: curl ").split()
        url = line[0].removesuffix("/v1/chat/completions")
        client = Client(url, None)
        assert client.post({**LONG, "max_tokens": 4}).status == 200
        replies = []
        body = {**LONG, "max_tokens": 32}
        asking = threading.Thread(target=lambda: replies.append(client.post(body)))
        asking.start()
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        asking.join(30)
        assert replies[0].status in (200, 503)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0 and "ended: " in out and "Traceback" not in err
    finally:
        process.kill()


def test_a_port_in_use_is_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(folder, "--port", port)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 1 and not out
    assert err.splitlines()[-1].startswith(
        f"error: --host 127.0.0.1 --port {port}: address already"
    )


def test_vllm_is_started_with_our_limits_where_it_is_installed(folder, tmp_path):
    fake = tmp_path / "vllm"
    fake.write_text('#!/bin/sh\necho "$@"\necho "key $VLLM_API_KEY"\n')
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "K": "abc"}
    options = "--engine vllm --name m --max-prompt-tokens 100 --max-new-tokens 20 --api-key-env K"
    line = [sys.executable, "-m", "hfllm", "serve", str(folder), *options.split()]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    expected = f"serve {folder} --host 127.0.0.1 --port 8000 --served-model-name m "
    expected += "--max-num-seqs 64 --max-model-len 120"
    assert done.stdout.splitlines() == [expected, "key abc"]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "K": "abc"})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --engine vllm: vLLM is not installed")


def test_clients_that_leave_disturb_no_others(model, tokenizer):
    """A third of 48 clients leave at some time; every other answer is the one it gets alone."""
    with serving(model, tokenizer, replace(SMALL, at_once=16), slow_s=0.002) as client:
        texts = [f"Who is number {i}{' and a cat' * (i % 5)}?" for i in range(48)]
        alone = [client.ask(text, max_tokens=24).text for text in texts]
        address = client.url.removeprefix("http://").split(":")

        def ask(i):
            if i % 3:
                stream = i % 3 == 2
                reply = client.ask(texts[i], max_tokens=24, stream=stream)
                return reply.joined() if stream else reply.text
            leaving = http.client.HTTPConnection(address[0], int(address[1]))
            body = {"messages": user(texts[i]), "max_tokens": 24, "stream": i % 2 == 0}
            leaving.request("POST", "/v1/chat/completions", json.dumps(body),
                            {"Content-Type": "application/json"})  # fmt: skip
            time.sleep(0.01 * (i % 7))
            leaving.close()
            return alone[i]

        with ThreadPoolExecutor(48) as pool:
            assert list(pool.map(ask, range(48))) == alone
        wait_for(lambda: not client.engine.active and not client.engine.waiting)
