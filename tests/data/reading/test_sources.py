"""Reading sources: the examples of valid files, and the errors and counts of damaged ones."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from hfllm.data.ledger import DataError, Ledger
from hfllm.data.reading.account import account_lines, check_shares
from hfllm.data.reading.examples import (
    label,
    read_chats,
    read_documents,
    read_pairs,
    read_rows,
)
from hfllm.data.reading.source_checks import check_sources
from hfllm.recipe.config import SourceConfig

ROWS = [{"id": str(i), "text": f"word {i} é", "kind": "ab"[i % 2]} for i in range(5)]
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)


def nowhere(step: str) -> Path:
    raise ValueError(f"no step {step!r}")


def read(path: Path, **more) -> list[dict]:
    return list(read_rows(SourceConfig(path=str(path), **more), nowhere))


def write(folder: Path, name: str, raw: bytes) -> Path:
    (folder / name).write_bytes(raw)
    return folder / name


def test_every_format_gives_the_same_rows(tmp_path):
    write(tmp_path, "a.jsonl", LINES)
    write(tmp_path, "b.jsonl.gz", gzip.compress(LINES))
    write(tmp_path, "c.json", json.dumps(ROWS).encode())
    write(tmp_path, "d.json.gz", gzip.compress(json.dumps(ROWS).encode()))
    write(tmp_path, "e.json", LINES)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "f.parquet", row_group_size=2)
    for path in sorted(tmp_path.iterdir()):
        name = path.name.split(".")[0]
        assert read(path, name=name) == [row | {"source": name} for row in ROWS], path
    assert len(read(tmp_path)) == 30
    assert len(read(tmp_path / "*.jsonl*")) == 10


def test_text_files_are_one_document_each(tmp_path):
    write(tmp_path, "a.txt", b"\xef\xbb\xbfone")
    write(tmp_path, "b.md", b"# two")
    rows = read(tmp_path, name="n")
    assert [row["text"] for row in rows] == ["one", "# two"]
    assert rows[0]["id"] == f"{tmp_path.name}/a.txt"


def test_columns_where_limit_and_identity(tmp_path):
    path = write(
        tmp_path, "web.jsonl", b'{"body": "x", "n": 1, "source": "mine"}\n\n{"body": "y", "n": 2}\n'
    )
    assert read(path, columns={"body": "text"}) == [
        {"text": "x", "n": 1, "source": "web", "origin": "mine", "id": "web.jsonl:1"},
        {"text": "y", "n": 2, "source": "web", "id": "web.jsonl:3"},
    ]
    assert [row["n"] for row in read(path, where={"n": 2})] == [2]
    assert [row["n"] for row in read(path, where={"n": [1, 2]})] == [1, 2]
    assert [row["n"] for row in read(path, limit=1)] == [1]
    broken = write(tmp_path, "later.jsonl", b'{"text": "a"}\n{"text": "b"}\n{"text": \n')
    assert [row["text"] for row in read(broken, limit=2)] == ["a", "b"]  # the third is not read
    with pytest.raises(DataError, match="web.jsonl:1: no column 'text' to rename; it has: body, n"):
        read(path, columns={"text": "body"})


def test_globs_select_and_what_is_left_out_is_counted(tmp_path):
    ids = ("law/1", "law/2", "trade/1", "trade/12")
    raw = "".join(json.dumps({"id": i, "text": "é", "n": len(i)}) + "\n" for i in ids)
    path = write(tmp_path, "books.jsonl", raw.encode())

    def chosen(**more) -> list[str]:
        ledger = Ledger()
        source = SourceConfig(path=str(path), **more)
        rows = list(read_documents([source], nowhere, ledger))
        for row in rows:
            ledger.keep(row)
        ledger.check()
        assert ledger.total("dropped:where") == 4 - len(rows)
        return [row["id"] for row in rows]

    assert chosen(where={"id": "law/*"}) == ["law/1", "law/2"]
    assert chosen(where_not={"id": "law/*"}) == ["trade/1", "trade/12"]
    assert chosen(where={"id": ["*/1", "*/1?"]}) == ["law/1", "trade/1", "trade/12"]
    assert chosen(where={"id": "*/1"}, where_not={"n": 5, "text": "e"}) == ["trade/1"]
    assert chosen(where={"id": "LAW/*"}) == []
    with pytest.raises(DataError, match="no column 'title' to select by"):
        chosen(where_not={"title": "x"})


def test_yaml_reads_no_as_false_and_digits_as_a_number(tmp_path):
    rows = [{"text": "x", "id": n, "lang": lang} for n, lang in enumerate(("en", "no", "de", "No"))]
    rows += [{"text": "x", "id": "007", "lang": False}, {"text": "x", "id": "1.5", "lang": 0}]
    path = write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())

    def chosen(**where) -> list[str]:
        given = OmegaConf.to_object(OmegaConf.create(yaml_of(where)))
        return [row["id"] for row in read(path, where=given)]

    def yaml_of(where: dict[str, str]) -> str:
        return "".join(f"{key}: {value}\n" for key, value in where.items())

    assert chosen(lang="[en, no]") == ["0", "1", "3", "007"]
    assert chosen(lang="'no'") == ["1"]
    assert chosen(id="1") == ["1"] and chosen(id="[0, 1.5]") == ["0", "1.5"]
    assert chosen(lang="0") == ["1.5"]  # a number is not false


def test_a_condition_that_matches_no_row_is_said_and_one_that_selects_none_stops(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"text": "x", "lang": "en"}\n' * 3)

    def said(**more) -> list[str]:
        ledger, source = Ledger(), SourceConfig(path=str(path), **more)
        for row in read_documents([source], nowhere, ledger):
            ledger.keep(row)
        check_shares(ledger, [source])
        return [line for line in account_lines(ledger, [source]) if "match no row" in line]

    assert said(where={"lang": ["en", "nb"]}, where_not={"id": "b*"}) == [
        "a: `where` or `where_not` match no row with lang: 'nb'; id: 'b*'"
    ]
    assert said(where={"lang": "e?"}, where_not={"id": "*1"}) == []
    with pytest.raises(DataError, match="`where` and `where_not` select none of its 3 rows"):
        said(where={"lang": "nb"})


def test_rows_without_an_id_can_be_held_out_by_their_number(tmp_path):
    path = write(tmp_path, "chats.jsonl", b'{"text": "x"}\n' * 30)
    held = read(path, where={"id": "*7"})
    kept = read(path, where_not={"id": "*7"})
    assert [row["id"] for row in held] == [f"chats.jsonl:{n}" for n in (7, 17, 27)]
    assert len(kept) == 27 and not {r["id"] for r in kept} & {r["id"] for r in held}


def test_a_step_is_read_by_its_kept_file_or_its_only_one(tmp_path):
    write(tmp_path, "kept.jsonl", LINES)
    write(tmp_path, "dropped.jsonl", LINES[:40])
    source = SourceConfig(step="curate")
    assert [row["source"] for row in read_rows(source, lambda _: tmp_path)] == ["curate"] * 5
    (tmp_path / "kept.jsonl").rename(tmp_path / "other.jsonl")
    with pytest.raises(DataError, match="which file of step 'curate' to read: dropped.jsonl, oth"):
        list(read_rows(source, lambda _: tmp_path))
    assert label(SourceConfig(step="world", file="web.jsonl")) == "web"
    with pytest.raises(DataError, match="has written nothing yet"):
        list(read_rows(source, lambda _: tmp_path / "no"))


BROKEN = [
    ("a.jsonl", LINES[:-9], r"a.jsonl:5: broken JSON at byte \d+ \(.*the line is cut off\)"),
    ("a.jsonl", b'{"text": "x"}\n{"text" "y"}\n', r"a.jsonl:2: broken JSON at byte 22 "),
    ("a.jsonl", b'{"text": "x"}\n{"text": "caf\xe9"}\n', r":2: invalid UTF-8 \(0xe9 at byte 27"),
    ("a.jsonl", b'{"text": "\\ud83d"}\n', "a.jsonl:1: a lone surrogate"),
    ("a.jsonl", b'["x"]\n', "a.jsonl:1: a list where an object"),
    ("a.jsonl", b"", "a.jsonl: the file is empty"),
    ("a.jsonl.gz", gzip.compress(LINES * 99)[:-20], r"cut off after line \d+ \(byte"),
    ("a.jsonl.gz", LINES, "unreadable after line 0 .*Not a gzipped file"),
    ("a.json", b'[{"text": "x"},', "a.json: broken JSON at byte 15"),
    ("a.json", b'[{"text": "x",}]', "a.json: broken JSON at byte 1"),
    ("a.jsonl", b'{"text": "x",}\n', "a.jsonl:1: broken JSON at byte 1"),
    ("a.jsonl", b'[{"text": "x"}, {"text": "y"}]', "a.jsonl:1: a list .* is called .json"),
    ("a.jsonl", b'{"text": "x"} {"text": "y"}', "a.jsonl:1: broken JSON at byte 14"),
    ("a.jsonl", b'{"n": %s}' % (b"9" * 5000), "a.jsonl:1: .*digits"),
    ("a.jsonl", b"[" * 100_000, "a.jsonl:1: JSON nested too deeply"),
    ("a.json", b'[{"text": "x"}, 3]', "a.json: row 2: a int where"),
    ("a.txt", b"caf\xe9", r"a.txt: invalid UTF-8 \(0xe9 at byte 3\)"),
    ("a.parquet", b"PAR1 and then nothing", "a.parquet: not a whole parquet file"),
    ("a.parquet", b"", "a.parquet: the file is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "raw", "message"), BROKEN)
def test_damage_is_named_with_its_place_and_remedy(tmp_path, name, raw, message):
    path = write(tmp_path, name, raw)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    left = read(path, on_error="skip")  # where nothing is left, to skip is no advice
    assert ("on_error: skip" in str(caught.value)) == bool(left)


@pytest.mark.parametrize(("name", "raw", "message"), BROKEN)
def test_skipped_damage_is_counted_once(tmp_path, name, raw, message):
    path = write(tmp_path, name, raw)
    ledger = Ledger()
    for row in read_documents([SourceConfig(path=str(path), on_error="skip")], nowhere, ledger):
        ledger.keep(row)
    ledger.check()
    assert ledger.total("dropped:unreadable") == (0 if raw == b"" else 1)


def test_a_damaged_row_group_is_counted_with_all_its_rows(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 200), path, row_group_size=500, compression="zstd")
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    raw = bytearray(path.read_bytes())
    raw[at : at + 60] = bytes(60)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"rows 1 to 500 \(row group 0\)"):
        read(path)
    ledger = Ledger()
    rows = list(read_rows(SourceConfig(path=str(path), on_error="skip"), nowhere, ledger))
    assert (len(rows), ledger.total("dropped:unreadable")) == (500, 500)


def test_parquet_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.parquet"
    raw = pa.array([b"good", b"caf\xe9", b"also good"])
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": text}), path)
    with pytest.raises(DataError, match=r"a.parquet: row 2: invalid UTF-8 \(0xe9\)"):
        read(path)
    assert [row["text"] for row in read(path, on_error="skip")] == ["good", "also good"]


def test_a_missing_file_suggests_the_nearest(tmp_path):
    (tmp_path / "books").mkdir()
    write(tmp_path / "books", "web.jsonl", LINES)
    with pytest.raises(DataError, match=r"no file .*webb.jsonl; did you mean .*books/web.jsonl\?"):
        read(tmp_path / "books" / "webb.jsonl")
    with pytest.raises(DataError, match=r"did you mean .*books/web.jsonl\?"):
        read(tmp_path / "boks" / "web.jsonl")
    with pytest.raises(DataError, match=r"no file .*xyz; it is not in .*books, change the path"):
        read(tmp_path / "books" / "xyz")
    with pytest.raises(DataError, match=r"no file .*; there is no folder .*/qqq: get .*your-data"):
        read(tmp_path / "qqq" / "text" / "*.parquet")
    with pytest.raises(DataError, match="cannot read .xyz"):
        read(write(tmp_path, "a.xyz", b"x"))


def test_ledger_is_conserved_over_every_way_out(tmp_path):
    rows = [
        {"instruction": "a", "output": "b", "kind": "x"},
        {"instruction": "a", "output": "", "kind": "x"},
        {"instruction": "a", "kind": "x"},
        {"instruction": "é", "output": "c", "kind": "y"},
    ]
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b"{broken\n"
    path = write(tmp_path, "a.jsonl", raw)
    ledger = Ledger()
    source = SourceConfig(path=str(path), where={"kind": "x"}, on_error="skip")
    for row in read_chats([source], nowhere, ledger):
        ledger.keep(row, tokens=7)
    ledger.check()
    assert ledger.reasons() == {"where": 1, "empty_answer": 1, "missing_column": 1, "unreadable": 1}
    assert (ledger.total("in"), ledger.total("kept"), ledger.total("kept", "bytes")) == (5, 1, 2)
    with pytest.raises(DataError, match="a.jsonl:3: no column messages or conversations or"):
        list(read_chats([SourceConfig(path=str(path))], nowhere))


def test_equal_sides_name_their_row(tmp_path):
    equal, good = (b'{"prompt": "a", "chosen": "b", "rejected": "%c"}\n' % c for c in b"bc")
    path = write(tmp_path, "a.jsonl", equal + good)
    with pytest.raises(DataError, match=r"a.jsonl:1: chosen and rejected are equal; set `on_err"):
        list(read_pairs([SourceConfig(path=str(path))], nowhere))


@pytest.mark.parametrize(
    ("name", "raw", "what"),
    [
        ("a.csv", b"id,text\n", "a header and no rows"),
        ("a.tsv", b"id\ttext", "a header and no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.parquet", None, "no rows"),
    ],
)
def test_a_file_without_rows_is_named(tmp_path, name, raw, what):
    """Alone it is an error; beside a file with rows it is passed over, which is said."""
    path = tmp_path / name
    if raw is None:
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    else:
        path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: it has {what}; add some, or change the path"
    write(tmp_path, "b.jsonl", b'{"text": "x"}\n')
    ledger, source = Ledger(), SourceConfig(path=str(tmp_path), name="set")
    assert len(list(read_rows(source, nowhere, ledger))) == 1
    assert f"passed over: 1 without rows ({name})" in " ".join(account_lines(ledger, [source]))


def test_an_ignored_column_that_no_row_has_is_said_once(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "time": 3}]
    rows = [{"messages": turns}, {"messages": turns, "lang": "en"}]
    write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    ignore = ["lang", "time", "foo", "bar"]
    source, ledger = SourceConfig(path=str(tmp_path / "a.jsonl"), ignore=ignore), Ledger()
    for row in read_chats([source], nowhere, ledger):
        ledger.keep(row)
    assert list(account_lines(ledger, [source])) == ["a: `ignore`: no row has foo, bar"]
    assert list(account_lines(Ledger.from_json(ledger.to_json()), [source])) == [
        "a: `ignore`: no row has foo, bar"
    ]


def test_to_skip_errors_is_no_advice_where_every_row_is_wrong(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 3)
    with pytest.raises(DataError, match="a.jsonl:1: no column messages or .*preference pair") as e:
        list(read_chats([SourceConfig(path=str(path))], nowhere))
    assert "on_error" not in str(e.value)


def test_check_sources_sees_what_can_be_seen_without_reading(tmp_path):
    write(tmp_path, "web.jsonl", LINES)
    good = SourceConfig(path=str(tmp_path / "web.jsonl"))
    assert check_sources([good, SourceConfig(step="later")], lambda _: tmp_path / "later") == []
    bad = [
        SourceConfig(name="none"),
        SourceConfig(name="two", path="a", hub="b"),
        SourceConfig(name="miss", path=str(tmp_path / "wbe.jsonl")),
        SourceConfig(name="opt", hub="b", on_error="ignore", format="alpacca"),
        SourceConfig(step="no"),
        good,
        good,
    ]
    problems = check_sources(bad, nowhere)
    for expected in (
        "two sources are called 'web'", "source 'none': set exactly one", "not path and hub",
        "did you mean", "on_error: 'ignore' is unknown", "format: 'alpacca' is unknown",
        "no step 'no'",
    ):  # fmt: skip
        assert any(expected in problem for problem in problems), expected


def test_a_local_folder_in_hub_format(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "tiny"
    folder.mkdir()
    write(folder, "train.jsonl", LINES)
    source = SourceConfig(hub=str(folder))
    assert [row["text"] for row in read_rows(source, nowhere)] == [row["text"] for row in ROWS]
    assert next(read_rows(source, nowhere))["source"] == "tiny"
    with pytest.raises(DataError, match="hub data set .*split 'dev'"):
        list(read_rows(SourceConfig(hub=str(folder), split="dev"), nowhere))


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"txt": "a"}, "txt"),
        ({"txt": "a", "id": 1}, "txt, id"),
        ({"txt": "a", "source": "web", "id": None}, "txt, source, id"),
    ],
)
def test_an_error_names_the_columns_of_the_file_alone(tmp_path, row, named):
    path = write(tmp_path, "docs.jsonl", json.dumps(row).encode())
    with pytest.raises(DataError, match=f"the row has: {named} \\("):
        list(read_documents([SourceConfig(path=str(path))], nowhere, Ledger()))
