"""llama.cpp's own server in this process, from the PyPI package xllamacpp, asked over loopback."""

import json
import urllib.request
from contextlib import contextmanager


class Server:
    """A loaded GGUF file."""

    def __init__(self, address):
        self.address = address

    def ask(self, path, **body):
        request = urllib.request.Request(
            f"{self.address}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def tokens(self, text):
        """Ids of a text; control tokens that it spells stay text."""
        return self.ask("/tokenize", content=text, parse_special=False)["tokens"]

    def prompt(self, messages):
        """Ids of a conversation that is to be answered, by the template in the file."""
        text = self.ask("/apply-template", messages=messages)["prompt"]
        return self.ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]

    def log_probabilities(self, ids, count):
        """Of each of `count` tokens after a prompt; None where the likeliest ends the answer."""
        body = {"prompt": ids, "n_predict": 1, "temperature": 0.0, "n_probs": count}
        told = self.ask("/completion", cache_prompt=False, **body)
        if "completion_probabilities" not in told:
            return None
        found = {x["id"]: x["logprob"] for x in told["completion_probabilities"][0]["top_logprobs"]}
        return [found[i] for i in range(count)]

    def greedy(self, ids, count):
        """The most likely next tokens, up to one that ends an answer."""
        body = {"prompt": ids, "n_predict": count, "temperature": 0.0, "return_tokens": True}
        body |= {"cache_prompt": False, "samplers": ["temperature"], "seed": 0}
        return self.ask("/completion", **body)


@contextmanager
def served(path, context=1024):
    """Load a file and serve it on a free port of 127.0.0.1 until the end of the block."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup = context, 1, False
    params.cpuparams.n_threads = 1
    params.n_gpu_layers = 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    try:
        yield Server(server.listening_address)
    finally:
        del server
