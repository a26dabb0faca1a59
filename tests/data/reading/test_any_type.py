"""Any type in any column: an example that is right in itself, or one line with file and row."""

import datetime
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfllm.data.ledger import Ledger, row_bytes
from hfllm.data.reading.examples import (
    read_chats,
    read_documents,
    read_labelled,
    read_pairs,
    read_prompts,
)
from hfllm.recipe.config import SourceConfig

ASK, SAY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
READERS = {
    "documents": read_documents,
    "chats": read_chats,
    "pairs": read_pairs,
    "labelled": read_labelled,
    "prompts": read_prompts,
}
ROWS: dict[str, list[dict]] = {  # a row of every format
    "documents": [{"text": "a text", "html": "<p>"}],
    "chats": [
        {"messages": [ASK, SAY]},
        {"conversations": [ASK, SAY]},
        {"instruction": "a", "input": "b", "context": "c", "history": [["d", "e"]], "output": "f"},
        {"question": "a", "answer": "b", "final": "c"},
        {"prompt": "a", "completion": "b", "label": True},
        {"prompt": "a", "response": "b"},
    ],
    "pairs": [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"conversations": [ASK], "chosen": SAY, "rejected": {"role": "assistant", "content": "b"}},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"instruction": "a", "input": "", "response1": "b", "response2": "c", "label": 1},
    ],
    "labelled": [
        {"prompt": "a", "completion": "b", "label": True},
        {"messages": [ASK, SAY], "label": 0},
        {"instruction": "a", "output": "b", "label": "true"},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
    ],
    "prompts": [
        {"prompt": "a", "answer": "b"},
        {"messages": [ASK, SAY]},
        {"question": "a", "final": "3", "answer": "c"},
        {"instruction": "a", "history": [], "context": "c"},
    ],
}
MADE = {
    "documents": (),
    "chats": ("messages",),
    "pairs": ("prompt", "chosen", "rejected"),
    "labelled": ("prompt",),
    "prompts": ("prompt",),
}
EVERYWHERE = ("id", "source", "origin", "system", "weight", "tools", "extra")
DEEP: list = []
for _ in range(50):
    DEEP = [DEEP]
VALUES = [
    None, True, False, 0, 1, -3, 3.5, float("nan"), float("inf"), 10**30, 2**63, "", " ", "x",
    "\x00", "\u2028", "[{", '[{"role": 3}]', [], {}, [[]], [{}], [None], [1], ["a"], ["a", "b"],
    [["a", "b"]], [["a", 1]], [["a"]], {"a": 1}, {"content": "a"}, {"role": "user"}, DEEP,
    {"role": [], "content": []}, {"role": ["user"], "content": ["a"]},
    {"role": ["user"], "content": ["a", "b"]}, {"role": ["user"], "content": "a"},
    {"role": ["user", 1], "content": [None, {}]}, {"from": ["human"], "value": None},
    [{"role": None, "content": None}], [{"role": 3, "content": "a"}], [{"role": [], "content": ""}],
    [{"role": {"a": 1}, "content": "a"}], [{"role": "user", "content": 3}],
    [{"role": "user", "content": []}], [{"role": "user", "content": [None]}],
    [{"role": "user", "content": [{"type": "text"}]}],
    [{"role": "user", "content": {"parts": ["a"]}}], [{"role": "user"}], [ASK, None], [ASK, "a"],
    [ASK, SAY | {"weight": []}], [ASK, SAY | {"weight": float("nan")}], [ASK, SAY | {"train": {}}],
    [ASK, SAY | {"tool_calls": 3}], [ASK, SAY | {"tool_calls": [{"function": None}]}],
    [{"role": "tool", "content": None}], [SAY], [ASK, ASK],
]  # fmt: skip
ARROW = [
    datetime.datetime(2024, 1, 2, 3, 4), datetime.date(2024, 1, 2), datetime.time(3, 4),
    datetime.timedelta(seconds=5), decimal.Decimal("1.50"), b"text", b"\xff\x00", pa.scalar(1.5),
]  # fmt: skip


def check(path: Path, kind: str) -> None:
    ledger = Ledger()
    try:
        examples = list(READERS[kind]([SourceConfig(path=str(path))], Path, ledger))
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
        assert path.name in str(error) and "1" in str(error), error
        return
    for example in examples:
        ledger.keep(example)
        assert json.loads(json.dumps(example)) == example or "NaN" in json.dumps(example)
        assert row_bytes(example) > 0
        for column in MADE[kind]:
            assert_messages(example[column])
        if kind == "documents":
            assert isinstance(example.get("text", example.get("html")), str)
    ledger.check()
    assert ledger.total("in") == 1


def assert_messages(messages: list[dict]) -> None:
    for message in messages:
        assert set(message) <= {"role", "content", "weight", "tool_calls"}, message
        assert message["role"] in ("system", "user", "assistant", "tool")
        assert type(message["content"]) is str


def columns_of(kind: str) -> list[tuple[dict, str]]:
    return [(row, column) for row in ROWS[kind] for column in (*row, *EVERYWHERE)]


@pytest.mark.parametrize("kind", READERS)
def test_any_json_value_in_any_column(tmp_path, kind):
    path = tmp_path / "rows.jsonl"
    for row, column in columns_of(kind):
        for value in VALUES:
            path.write_text(json.dumps(row | {column: value}) + "\n")
            check(path, kind)


@pytest.mark.parametrize("kind", READERS)
def test_any_arrow_value_in_any_column(tmp_path, kind):
    path = tmp_path / "rows.parquet"
    written = 0
    for row, column in columns_of(kind):
        for value in ARROW + VALUES[::3]:
            try:
                table = pa.Table.from_pylist([row | {column: value}])
                pq.write_table(table, path)
            except (pa.ArrowException, OverflowError):
                continue  # Arrow has no such type
            written += 1
            check(path, kind)
    assert written > 100


ARROW_TYPES = {
    "large_string": pa.array(["Hi?"], pa.large_string()),
    "dictionary": pa.array(["Hi?"]).dictionary_encode(),
    "binary": pa.array([b"Hi?"]),
    "string_view": pa.array(["Hi?"], pa.string_view()),
}


@pytest.mark.parametrize("name", ARROW_TYPES)
def test_text_of_any_arrow_type_is_text(tmp_path, name):
    path = tmp_path / "rows.parquet"
    try:
        pq.write_table(pa.table({"text": ARROW_TYPES[name], "prompt": ARROW_TYPES[name]}), path)
    except pa.ArrowNotImplementedError:
        pytest.skip(f"this Arrow writes no {name}")
    source = SourceConfig(path=str(path))
    assert [row["text"] for row in read_documents([source], Path)] == ["Hi?"]
    assert [row["prompt"] for row in read_prompts([source], Path)] == [[ASK]]


def test_columns_for_reward_functions_keep_their_types(tmp_path):
    values = {
        "n": 3, "share": 0.5, "flag": True, "none": None, "list": [1, "a", None],
        "dict": {"a": [1]}, "text": "03", "big": 2**70,
    }  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a"} | values) + "\n")
    (example,) = read_prompts([SourceConfig(path=str(path))], Path)
    found = {key: example[key] for key in values}
    assert found == values
    assert [type(value) for value in found.values()] == [type(v) for v in values.values()]


def test_arrow_values_become_those_of_json(tmp_path):
    path = tmp_path / "rows.parquet"
    values = {
        "when": datetime.datetime(2024, 1, 2, 3, 4), "day": datetime.date(2024, 1, 2),
        "price": decimal.Decimal("1.50"), "count": decimal.Decimal("3"), "raw": b"caf\xc3\xa9",
        "image": b"\xff\xd8",
    }  # fmt: skip
    table = pa.Table.from_pylist([{"prompt": "a"} | values])
    pairs = pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))
    pq.write_table(table.append_column("map", pairs), path)
    source = SourceConfig(path=str(path), ignore=["image"])
    (example,) = read_prompts([source], Path)
    assert {key: example[key] for key in ("when", "day", "price", "count", "raw", "map")} == {
        "when": "2024-01-02T03:04:00", "day": "2024-01-02", "price": 1.5, "count": 3,
        "raw": "café", "map": {"a": 1, "b": 2},
    }  # fmt: skip
