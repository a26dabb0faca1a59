"""Rows and tokens of sources: counted where they are read whole, estimated from their beginning."""

import gzip
import json

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from hfllm.planning import amounts
from hfllm.planning.amounts import amount
from hfllm.planning.text_tokens import BYTES_PER_TOKEN, TokenCounter
from hfllm.recipe.config import SourceConfig
from tiny import chat, document, documents, pair, prompt, write_jsonl


@pytest.fixture()
def step(trained):
    """A step whose tokenizer is there."""
    return trained.step("sft")


def tokens(folder, text):
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return len(file.encode(text, add_special_tokens=False).ids)


def test_small_sources_are_counted_with_the_steps_tokenizer(step):
    found = amount(step, [SourceConfig(path="data/documents.jsonl")], "texts", 10**9)
    folder = step.other("tokenizer").tokenizer
    assert found.rows == 60
    assert found.tokens == sum(tokens(folder, document(i)) + 1 for i in range(60))
    assert (found.how, found.missing) == ("counted", ())


def test_chats_are_rendered_as_in_training(step):
    found = amount(step, [SourceConfig(path="data/chats.jsonl")], "chats", 10**9)
    tokenizer = AutoTokenizer.from_pretrained(step.other("tokenizer").tokenizer)
    rendered = [
        tokenizer.apply_chat_template(chat(i)["messages"], tokenize=False) for i in range(24)
    ]
    expected = sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in rendered)
    assert (found.rows, found.tokens) == (24, expected)


def test_long_pairs_and_prompts_are_dropped_and_long_chats_cut(step):
    pairs = [SourceConfig(path="data/pairs.jsonl")]
    everything = amount(step, pairs, "pairs", 10**9)
    assert everything.rows == 24
    assert amount(step, pairs, "pairs", 5).rows == 0
    prompts = [SourceConfig(path="data/prompts.jsonl")]
    assert amount(step, prompts, "prompts", 10**9).rows == 16
    assert amount(step, prompts, "prompts", 3).rows == 0
    chats = [SourceConfig(path="data/chats.jsonl")]
    assert amount(step, chats, "chats", 5).tokens == 24 * 5


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_large_sources_are_estimated_from_their_beginning(step, monkeypatch, ending):
    rows = documents(3000)
    path = step.recipe.run_dir.parent / f"many.{ending}"
    if ending == "parquet":
        import pyarrow
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        write_jsonl(path, rows)
    else:
        path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    source = [SourceConfig(path=str(path))]
    exact = amount(step, source, "texts", 10**9)
    monkeypatch.setattr(amounts, "SAMPLE", 20_000)
    found = amount(step, source, "texts", 10**9)
    assert exact.how == "counted"
    assert found.how == "estimated (from the first rows and the size)"
    assert found.rows == pytest.approx(3000, rel=0.02)
    assert found.tokens == pytest.approx(exact.tokens, rel=0.05)


def test_conditions_and_limits_count(step, monkeypatch):
    monkeypatch.setattr(amounts, "SAMPLE", 2_000)
    every_tenth = SourceConfig(path="data/documents.jsonl", where={"id": "*7"})
    assert amount(step, [every_tenth], "texts", 10**9).rows == 6
    few = SourceConfig(path="data/documents.jsonl", limit=40)
    assert amount(step, [few], "texts", 10**9).rows == 40


def test_without_a_tokenizer_a_ratio_is_assumed_and_said(workspace):
    step = workspace.step("pretrain")
    found = amount(step, [SourceConfig(path="data/documents.jsonl")], "texts", 10**9)
    bytes_in = sum(len(document(i)) for i in range(60))
    assert found.tokens == pytest.approx(bytes_in / BYTES_PER_TOKEN + 60, rel=0.01)
    assert found.how == "estimated (4 bytes a token assumed)"


def test_what_cannot_be_read_yet_is_unknown_and_named(workspace):
    step = workspace.step("pretrain")
    hub = SourceConfig(hub="owner/data")
    found = amount(step, [hub, SourceConfig(path="data/documents.jsonl")], "texts", 10**9)
    assert found.missing == ("data: the hub",)
    assert not found.is_whole
    assert amount(step, [hub], "texts", 10**9).rows is None
    waiting = SourceConfig(step="tokenizer")
    assert amount(step, [waiting], "texts", 10).missing == (
        "tokenizer: step 'tokenizer' has not run",
    )


def test_prompts_end_where_the_answer_begins(step):
    counter = TokenCounter(step)
    rendered = counter.template.render(messages=prompt(0)["prompt"], add_generation_prompt=True)
    assert rendered.endswith("<|assistant|>")
    assert counter.prompt(prompt(0)) == counter.text(rendered)
    chosen, rejected = counter.sides(pair(0))
    assert chosen == counter.messages([*pair(0)["prompt"], *pair(0)["chosen"]])
    assert rejected != chosen
