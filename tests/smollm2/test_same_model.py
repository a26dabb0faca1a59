"""The imported folder is the model in the file: weights, tokens, template."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from jinja2 import Environment
from transformers import AutoModelForCausalLM

from hfllm.data.reading.examples import read_rows
from hfllm.recipe.config import SourceConfig
from hfllm.tokenization.encode import encode_text

CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <|im_end|>"}],
    [
        {"role": "user", "content": " Hi\n"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "caf\u00e9?"},
    ],
]


@torch.inference_mode()
def test_logits_are_those_of_transformers_own_reading(subject, gguf):
    theirs = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    ).eval()
    ids = torch.tensor([encode_text(subject.tokenizer, "The capital of France is Paris. 1+1=2")])
    assert subject.model.dtype == torch.float32
    assert torch.equal(subject.model(ids).logits, theirs(ids).logits)


def test_text_comes_back_from_its_tokens(subject, data):
    for path in sorted((data / "text").glob("*.parquet")):
        source = SourceConfig(path=str(path), limit=20)
        for row in read_rows(source, Path):
            text = str(row["text"])[:5000]
            assert subject.tokenizer.decode(encode_text(subject.tokenizer, text)) == text, path


def test_the_template_renders_what_the_original_renders(subject, gguf):
    field = GGUFReader(gguf).fields["tokenizer.chat_template"]
    original = bytes(field.parts[field.data[0]]).decode()
    environment = Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - as transformers
    for chat in CHATS:
        for prompt in (False, True):
            theirs = environment.from_string(original).render(
                messages=chat, add_generation_prompt=prompt
            )
            ours = subject.tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=prompt
            )
            assert ours == theirs


def core_rows(data, name, count):
    with gzip.open(data / "eval" / "core" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(next(lines)) for _ in range(count)]


@pytest.mark.parametrize("name", ["arc_easy", "piqa", "winogrande", "lambada_openai"])
def test_log_likelihoods_are_those_of_lm_eval(subject, data, name):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from hfllm.evaluation.tasks.choices import as_options
    from hfllm.evaluation.tasks.continuation import context_and_text
    from hfllm.inference.loglik import continuation, split_continuation, token_scores

    harness = HFLM(
        pretrained=subject.model, tokenizer=subject.tokenizer, device="cpu", batch_size=8
    )
    for row in core_rows(data, name, 12):
        is_cloze = "context" in row
        pairs = [context_and_text(row, name)] if is_cloze else as_options(row)[0]
        scored = [continuation(*split_continuation(subject.tokenizer, *p), 8192) for p in pairs]
        ours = token_scores(subject.model, scored)
        theirs = harness.loglikelihood(
            [
                Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0)
                for pair in pairs
            ],
            disable_tqdm=True,
        )
        assert [one.total() for one in ours] == pytest.approx([v for v, _ in theirs], abs=1e-3)
        assert [bool(one.greedy.all()) for one in ours] == [greedy for _, greedy in theirs]
