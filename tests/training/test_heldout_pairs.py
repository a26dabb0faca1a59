"""What is left out of held-out pairs is said on the console, beside the note in the manifest."""

from types import SimpleNamespace

import pytest

from hfllm.data.ledger import Ledger
from hfllm.recipe.config import PairDataConfig, SourceConfig
from hfllm.training.pairs import heldout_rows, read_split
from tiny import pair, write_jsonl
from tiny_model import tiny_tokenizer


def split(tmp_path, rows):
    data = PairDataConfig(
        mixture=[SourceConfig(path=str(write_jsonl(tmp_path / "pairs.jsonl", [pair(1)])))],
        heldout=[SourceConfig(path=str(write_jsonl(tmp_path / "apart.jsonl", rows)))],
    )
    manifest, step = SimpleNamespace(notes=[]), SimpleNamespace(data_of=None)
    return read_split(data, step, Ledger(), manifest)[1], manifest


def test_held_out_pairs_that_are_dropped_are_said(tmp_path, capsys):
    tests, manifest = split(tmp_path, [pair(40) | {"lang": "en"}, pair(41) | {"rejected": ""}])
    assert [test["id"] for test in tests] == ["p40"]
    assert manifest.notes == ["held-out pairs left out: empty_answer 1"]
    assert capsys.readouterr().out.splitlines() == [
        f"  apart: 1 of 2 rows left out: 1 empty_answer (first {tmp_path}/apart.jsonl:2)",
        "  apart: not read: lang (1 of apart.jsonl)",
    ]


def test_more_than_half_of_the_held_out_pairs_left_out_is_too_much(tmp_path):
    with pytest.raises(ValueError, match="source 'apart': 2 of 3 rows are left out"):
        split(tmp_path, [pair(40), *(pair(i) | {"rejected": ""} for i in (1, 2))])


def test_held_out_pairs_that_do_not_fit_are_said(tmp_path, capsys):
    long = [{"role": "assistant", "content": "A baker. " * 200}]
    tests, manifest = split(tmp_path, [pair(40), pair(41) | {"rejected": long}])
    tokenizer = tiny_tokenizer([f"Who is person {i}? A baker with {i} cats." for i in range(80)])
    heldout_rows(tests, tokenizer, 128, SimpleNamespace(data=tmp_path), manifest)
    note = "1 of 2 held-out pairs do not fit data.seq_len or the template"
    assert manifest.notes == [note] and f"  {note}\n" in capsys.readouterr().out
