"""What nobody reads of a test's rows is named, and it alone: without it the row is the same."""

from pathlib import Path

import pytest
from test_shapes import ANSWERS, CHOICES

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.unread import note_unread
from hfllm.evaluation.columns_read import TASKS, columns_read_of
from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.folder import read_tasks
from hfllm.evaluation.read_tests import READERS, read_test
from hfllm.evaluation.shapes import as_test_row, kind_of
from hfllm.instructions.build import constrained
from hfllm.instructions.kinds import KINDS
from hfllm.recipe.config import SourceConfig
from hfllm.world.config import WorldConfig
from hfllm.world.generate import generate_world
from tiny import write_jsonl

ROWS = [row for row, *_ in (*CHOICES, *ANSWERS)]
UNREAD = {  # the columns of these rows that no program reads
    "subject", "ind", "UID", "rationale", "title", "type",
}  # fmt: skip


def unread(row, kind):
    ledger, row = Ledger(), Example({**row, "source": "mine"}, "mine.jsonl:1")
    note_unread(row, Example(as_test_row(row, kind)), columns_read_of(row, None, kind), ledger)
    return [what.removeprefix("unread:") for _, what in ledger.notes]


@pytest.mark.parametrize("row", ROWS)
def test_what_is_named_changes_nothing_and_what_is_not_is_read(row):
    kind = kind_of(row)
    named = unread(row, kind)
    assert set(named) == UNREAD & set(row)
    bare = {key: value for key, value in row.items() if key not in named}
    made = as_test_row(row, kind)
    assert as_test_row(bare, kind) == {k: v for k, v in made.items() if k not in named}
    assert unread(row | {"extra": 1}, kind) == [*named, "extra"]
    assert unread(row | {"extra": None}, kind) == named


def test_a_kind_has_its_reader_or_its_columns_declared():
    assert {*READERS, *TASKS} == set(TASK_KINDS)


def test_own_tests_have_no_column_that_is_named(tmp_path, capsys):
    sizes = {"people": 12, "strangers": 60, "documents": 20, "chats": 20, "pairs": 10}
    generate_world(WorldConfig(**sizes, prompts=20, tests=12), 0, tmp_path)
    asked = [
        Example(
            {"id": f"q{i}", "source": "me", "prompt": [{"role": "user", "content": f"Why {i}?"}]}
        )
        for i in range(20)
    ]
    write_jsonl(tmp_path / "tests" / "instructions.jsonl", constrained(asked, 10, [*KINDS], 0)[1])
    for path in sorted((tmp_path / "tests").glob("*.jsonl")):
        kind = "instructions" if path.stem == "instructions" else "answers"
        assert read_test(SourceConfig(path=str(path)), kind, Path, Ledger())
        assert read_tasks([path])
    assert "not read" not in capsys.readouterr().out


def test_what_a_test_leaves_unread_is_said_once_with_a_count(tmp_path, capsys):
    turns = [{"role": "user", "content": "Hi?", "time": 3}, {"role": "assistant", "content": "Ho."}]
    rows = {
        "replies": {"messages": turns, "lang": "en", "task": "talk"},
        "answers": {"prompt": "Hi?", "answer": "Ho", "lang": "en", "shots": [], "kind": "x"},
        "choices": {"query": "Hi?", "choices": ["a", "b"], "gold": 0, "lang": "en", "field": "x"},
        "continuation": {"context": "Hi", "continuation": "ho", "lang": "en"},
        "preference": {"prompt": "Hi?", "chosen": "a", "rejected": "b", "lang": "en"},
        "bits_per_byte": {"text": "Hi ho.", "lang": "en"},
    }
    more = {"replies": "; messages[].time (2 of mine.jsonl)", "answers": "; kind (2 of mine.jsonl)"}
    ignored = {"replies": ["time"], "answers": ["kind"]}
    for kind, row in rows.items():
        path = write_jsonl(tmp_path / "mine.jsonl", [row, row])
        said = f"  mine: not read: lang (2 of mine.jsonl){more.get(kind, '')}\n"
        source = SourceConfig(path=str(path))
        read_test(source, kind, Path, Ledger())
        assert capsys.readouterr().out == said
        if kind not in ("preference", "bits_per_byte"):
            read_tasks([path])  # hfllm eval
            assert said in capsys.readouterr().out
        selected = SourceConfig(path=str(path), where={"lang": "en"}, ignore=ignored.get(kind))
        read_test(selected, kind, Path, Ledger())
        assert capsys.readouterr().out == ""  # what selects the rows is read


def test_a_reply_that_is_none_is_named_and_one_that_is_read_is_not(tmp_path, capsys):
    for response, said in (("Ho.", ""), (7, "  a: not read: response (1 of a.jsonl)\n")):
        path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "Hi?", "response": response}])
        read_test(SourceConfig(path=str(path)), "replies", Path, Ledger())
        assert capsys.readouterr().out == said
