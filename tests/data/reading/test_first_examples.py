"""The first examples of a source, as the checks before a run read them."""

import json
from pathlib import Path

import pytest

from hfllm.data.ledger import DataError
from hfllm.data.reading.first_examples import KINDS, first_examples
from hfllm.recipe.config import SourceConfig

ROWS = {
    "documents": {"text": "a text"},
    "texts": {"text": "a text"},
    "chats": {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    },
    "pairs": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "labelled": {"prompt": "a", "completion": "b", "label": True},
    "prompts": {"prompt": "a"},
    "rows": {"anything": 1},
}


def source_of(folder: Path, rows: list[dict], **more) -> SourceConfig:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceConfig(path=str(path), **more)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_rows_are_read_as_a_step_reads_them(tmp_path, kind):
    source = source_of(tmp_path, [ROWS[kind]] * 5)
    found = first_examples(source, kind, 3, Path)
    assert [example.place for example in found] == [f"{source.path}:{n}" for n in (1, 2, 3)]


def test_rows_of_another_kind_are_one_line(tmp_path):
    source = source_of(tmp_path, [ROWS["pairs"]])
    with pytest.raises(DataError, match=r"rows.jsonl:1: .*chosen"):
        first_examples(source, "chats", 3, Path)
    source.on_error = "skip"
    with pytest.raises(
        DataError, match="its first rows give no chats; left out by reason: missing"
    ):
        first_examples(source, "chats", 3, Path)


def test_a_where_that_selects_nothing_says_so(tmp_path):
    source = source_of(tmp_path, [{"text": "x", "lang": "en"}] * 2, where={"lang": "de"})
    with pytest.raises(DataError, match="left out by reason: where 2"):
        first_examples(source, "documents", 3, Path)
