"""Clients at once against one after another: `python benchmarks/serve.py URL [--clients 64]`.

Each client asks something else, greedily; the answers at once must be those one after another.
"""

import argparse
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor


def ask(url: str, number: int, tokens: int) -> tuple[str, int]:
    """The answer to a question of its own, and its tokens."""
    text = f"What do you know about the number {number}?"
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": tokens}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=3600) as reply:
        got = json.load(reply)
    return got["choices"][0]["message"]["content"], got["usage"]["completion_tokens"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of a server, e.g. http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="longest answer")
    given = parser.parse_args()
    ask(given.url, 0, 4)
    results = []
    for workers in (1, given.clients):
        begun = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            got = list(pool.map(lambda i: ask(given.url, i, given.tokens), range(given.clients)))
        seconds, tokens = time.perf_counter() - begun, sum(count for _, count in got)
        print(f"{workers} at a time: {seconds:.1f} s, {tokens / seconds:.1f} tokens/s", flush=True)
        results.append((seconds, [text for text, _ in got]))
    (alone, one), (together, many) = results
    same = sum(a == b for a, b in zip(one, many, strict=True))
    print(f"{alone / together:.1f} times as fast; {same} of {given.clients} answers are the same")


if __name__ == "__main__":
    main()
