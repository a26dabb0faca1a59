"""What changes the meaning of a row is rendered or refused; what is only not read is named."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfllm.data.ledger import DataError, Drop, Ledger
from hfllm.data.reading.account import account, account_lines
from hfllm.data.reading.examples import read_chats, read_prompts, read_texts
from hfllm.data.reading.formats import as_chat, as_pair, as_prompt
from hfllm.recipe.config import SourceConfig

ASK, SAY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}
CHATS = [
    {"messages": [ASK, SAY]},
    {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]},
    {"instruction": "Hi?", "output": "Hello."},
    {"instruction": "Hi?", "response": "Hello."},
    {"question": "Hi?", "answer": "Hello."},
    {"question": "Hi?", "response": "Hello."},
    {"prompt": "Hi?", "response": "Hello."},
    {"prompt": "Hi?", "completion": "Hello."},
    {"prompt": [ASK], "completion": [SAY]},
]
SHAPES = {key: None for row in CHATS for key in row}


def lines_of(path: Path, rows: list[dict]) -> SourceConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceConfig(path=str(path))


@pytest.mark.parametrize("column", ["system", "system_prompt", "system_message"])
def test_a_system_column_is_the_system_turn_of_every_kind(column):
    text = {column: "Be brief."}
    for row in CHATS:
        assert as_chat(row | text) == {"messages": [SYSTEM, ASK, SAY]}, row
    assert as_pair(PAIR | text)["prompt"] == [SYSTEM, ASK]
    whole = {"chosen": [ASK, SAY], "rejected": [ASK, SAY | {"content": "No."}]}
    assert as_pair(whole | text)["prompt"] == [SYSTEM, ASK]
    assert as_prompt({"prompt": "Hi?"} | text)["prompt"] == [SYSTEM, ASK]
    assert as_prompt({"question": "Hi?"} | text)["prompt"] == [SYSTEM, ASK]


def test_a_system_column_beside_a_system_message():
    row = {"messages": [SYSTEM, ASK, SAY]}
    assert as_chat(row | {"system": "Be brief."})["messages"] == [SYSTEM, ASK, SAY]
    assert as_chat(row | {"system": None, "system_prompt": ""})["messages"] == [SYSTEM, ASK, SAY]
    for wrong in ({"system": "Be long."}, {"system": 3}, {"system": "a", "system_prompt": "b"}):
        with pytest.raises(DataError, match="system"):
            as_chat(row | wrong)


def test_what_was_given_and_said_before_is_rendered():
    before = [["One?", "1."], ["Two?", "2."]]
    row = {"instruction": "Add.", "input": "1 2", "context": "c", "output": "3", "history": before}
    said = [message["content"] for message in as_chat(row)["messages"]]
    assert said == ["One?", "1.", "Two?", "2.", "Add.\n\n1 2\n\nc", "3"]
    prompt = {"question": "Who?", "context": "Ada bakes.", "history": [ASK, SAY]}
    assert [m["content"] for m in as_prompt(prompt)["prompt"]] == [
        "Hi?", "Hello.", "Who?\n\nAda bakes.",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"history\[0\] is of type list; it must be a question"):
        as_chat(row | {"history": [["One?"]]})


@pytest.mark.parametrize("row", CHATS, ids=lambda row: "+".join(row))
def test_the_shape_is_that_of_the_columns_that_are_not_null(row):
    assert as_chat(SHAPES | row)["messages"] == [ASK, SAY]


def test_nulls_of_a_union_inside_messages():
    nulls = {"from": None, "value": None, "tool_calls": None, "weight": None, "name": None}
    assert as_chat({"messages": [ASK | nulls, SAY | nulls]})["messages"] == [ASK, SAY]


REFUSED_COLUMNS = {
    "history": [["a", "b"]], "context": "c", "input": "i", "options": ["a"], "choices": {"A": "a"},
    "images": [b"x"], "reasoning": "so", "thinking": "so", "weight": 0.5,
    "train": "no",
}  # fmt: skip
REFUSED_KEYS = {
    "reasoning_content": "so", "thinking": "so", "images": ["x"], "name": "Ada", "weight": 0.5,
    "train": "no", "train_detail": [1], "mask": True,
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), REFUSED_COLUMNS.items())
def test_columns_that_change_the_meaning_are_refused_unless_ignored(tmp_path, column, value):
    row = {"messages": [ASK, SAY], column: value}
    for read, one in ((as_chat, row), (as_pair, PAIR | {column: value})):
        with pytest.raises(DataError, match=f"column '{column}' .*`ignore: .{column}"):
            read(one)
        assert isinstance(read(one | {column: None}), dict)
    source = lines_of(tmp_path / "a.jsonl", [row | {column: str(value)}])
    source.ignore = [column]
    assert [chat["messages"] for chat in read_chats([source], Path)] == [[ASK, SAY]]


@pytest.mark.parametrize(("key", "value"), REFUSED_KEYS.items())
def test_keys_of_messages_that_change_the_meaning_are_refused_unless_ignored(tmp_path, key, value):
    row = {"messages": [ASK, SAY | {key: value}]}
    with pytest.raises(DataError, match=rf"messages\[1\] has '?{key}"):
        as_chat(row)
    source = lines_of(tmp_path / "a.jsonl", [row])
    source.ignore = [key]
    assert [chat["messages"] for chat in read_chats([source], Path)] == [[ASK, SAY]]


@pytest.mark.parametrize("key", ["weight", "train", "training", "trainable", "loss"])
def test_answers_that_are_not_to_be_trained(key):
    wrong = SAY | {"weight": 0}
    row = {"messages": [ASK, SAY | {key: 0}, ASK, SAY | {key: True}]}
    assert as_chat(row)["messages"] == [ASK, wrong, ASK, SAY]
    assert as_chat({"messages": [ASK, SAY | {key: False}]}) == Drop("weight_0")
    assert as_chat({"messages": [ASK | {key: 0}, SAY]})["messages"] == [ASK, SAY]
    with pytest.raises(DataError, match="only answers are trained, never a user's turn"):
        as_chat({"messages": [ASK | {key: 1}, SAY]})
    assert as_prompt({"messages": row["messages"]})["prompt"] == [ASK, SAY, ASK]


def test_rows_that_are_not_to_be_trained():
    for row in ({"weight": 0}, {"train": False}):
        assert as_chat({"messages": [ASK, SAY]} | row) == Drop("weight_0")
        assert as_pair(PAIR | row) == Drop("weight_0")
    assert as_chat({"messages": [ASK, SAY], "weight": 1.0})["messages"] == [ASK, SAY]


CALL = {"type": "function", "function": {"name": "find", "arguments": {"city": "Bonn"}}}
RESULT, TOOL = {"role": "tool", "content": '{"t": 3}'}, {"name": "find", "parameters": {}}


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": "assistant", "content": "", "tool_calls": [CALL["function"]]}],
        [{"role": "assistant", "content": None, "function_call": CALL["function"]}],
        [{"from": "function_call", "value": json.dumps(CALL["function"])}],
        [{"from": "tool_call", "value": json.dumps([CALL["function"]])}],
        [
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "find", "arguments": '{"city": "Bonn"}'}}],
            }
        ],
    ],
)
@pytest.mark.parametrize("result", ["tool", "function", "observation", "ipython"])
def test_calls_and_results_of_tools_in_every_published_form(said, result):
    row = {"conversations": [ASK, *said, {"role": result, "content": '{"t": 3}'}, SAY]}
    row |= {"tools": json.dumps([TOOL])}
    assert as_chat(row) == {
        "messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT, SAY],
        "tools": [{"type": "function", "function": TOOL}],
    }
    assert as_prompt({"messages": row["conversations"]}) == Drop("tool_role")
    assert as_pair(PAIR | {"prompt": row["conversations"]}) == Drop("tool_role")


def test_calls_after_a_text_are_part_of_its_turn():
    call = {"from": "function_call", "value": json.dumps(CALL["function"])}
    chat = as_chat({"conversations": [ASK, SAY, call, call, RESULT, RESULT, SAY], "tools": "[]"})
    assert chat["messages"] == [ASK, SAY | {"tool_calls": [CALL, CALL]}, RESULT, RESULT, SAY]
    assert "tools" not in chat


def test_pairs_and_bad_answers_are_no_chats():
    for row in CHATS:
        with pytest.raises(DataError, match="the row is a preference pair"):
            as_chat(row | {"chosen": "a", "rejected": "b"})
        with pytest.raises(DataError, match=r"'label' is false .*`where: \{label: true\}`"):
            as_chat(row | {"label": False})
        assert as_chat(row | {"label": True, "chosen": None})["messages"] == [ASK, SAY]


def test_parts_of_text_are_joined_and_others_refused():
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": "?"}]
    assert as_chat({"messages": [ASK | {"content": parts}, SAY]})["messages"] == [ASK, SAY]
    with pytest.raises(DataError, match=r"messages\[0\] has a part that is no text: 'image_url'"):
        as_chat({"messages": [ASK | {"content": [*parts, {"type": "image_url"}]}, SAY]})


def test_messages_as_a_struct_of_lists_and_as_json(tmp_path):
    lists = pa.struct([("role", pa.list_(pa.string())), ("content", pa.list_(pa.string()))])
    rows = [{"role": ["user", "assistant"], "content": ["Hi?", "Hello."]}] * 2
    pq.write_table(pa.table({"messages": pa.array(rows, lists)}), tmp_path / "a.parquet")
    source = SourceConfig(path=str(tmp_path / "a.parquet"))
    assert [chat["messages"] for chat in read_chats([source], Path)] == [[ASK, SAY]] * 2
    assert as_chat({"messages": json.dumps([ASK, SAY])})["messages"] == [ASK, SAY]
    with pytest.raises(DataError, match="lists of different lengths: 2 role, 1 content"):
        as_chat({"messages": {"role": ["user", "assistant"], "content": ["a"]}})


def test_what_is_not_read_is_named_once_with_a_count(tmp_path):
    rows = [{"messages": [ASK | {"time": 3}, SAY], "lang": "en", "id": n} for n in range(3)]
    lines_of(tmp_path / "a.jsonl", rows)
    lines_of(tmp_path / "b.jsonl", [{"messages": [ASK, SAY], "lang": "en", "score": None}])
    ledger = Ledger()
    source = SourceConfig(path=str(tmp_path / "*.jsonl"), name="talk")
    for chat in read_chats([source], Path, ledger):
        ledger.keep(chat)
    assert list(account_lines(ledger, [source])) == [
        "talk: not read: lang (3 of a.jsonl, 1 of b.jsonl); messages[].time (3 of a.jsonl)"
    ]
    ledger.check()


def test_columns_of_documents_are_named_and_those_of_prompts_are_for_the_rewards(tmp_path):
    source = lines_of(tmp_path / "a.jsonl", [{"text": "x", "prompt": "y", "url": "z"}])
    for read, said in (
        (read_texts, ["a: not read: prompt (1 of a.jsonl); url (1 of a.jsonl)"]),
        (read_prompts, []),
    ):
        ledger = Ledger()
        for example in read([source], Path, ledger):
            ledger.keep(example)
        assert list(account_lines(ledger, [source])) == said


def test_more_than_half_left_out_stops_unless_it_is_allowed(tmp_path, capsys):
    good, bad = {"messages": [ASK, SAY]}, {"messages": [ASK]}
    source = lines_of(tmp_path / "a.jsonl", [good, bad, bad, good, bad])

    def read() -> None:
        ledger = Ledger()
        for chat in read_chats([source], Path, ledger):
            ledger.keep(chat)
        account(ledger, [source])

    with pytest.raises(
        DataError, match=r"3 of 5 rows are left out .3 no_assistant_turn .first .*a.jsonl:2"
    ):
        read()
    assert "a: 3 of 5 rows left out: 3 no_assistant_turn (first" in capsys.readouterr().out
    source.allow_dropped = 0.6
    read()
    source.allow_dropped, source.where = None, {"id": "a.jsonl:[12]"}
    read()  # what `where` leaves out was asked for


@pytest.mark.parametrize("rank", ["0", "1"])
def test_one_process_says_what_was_left_out_and_every_one_stops(
    tmp_path, monkeypatch, capsys, rank
):
    """The others went on to the next collective, and waited there for the one that had stopped."""
    monkeypatch.setenv("RANK", rank)
    source = lines_of(tmp_path / "a.jsonl", CHATS[:2])
    ledger = Ledger()
    for chat in read_chats([source], ledger):
        ledger.drop(chat, "too_long")
    with pytest.raises(DataError, match="2 of 2 rows are left out"):
        account(ledger, [source])
    assert ("2 of 2 rows left out" in capsys.readouterr().out) == (rank == "0")
