"""Which files a source reads: folders, links, hidden files, cards, packed files, odd names."""

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path

import pyarrow as pa
import pytest

from hfllm.data.ledger import DataError, Ledger
from hfllm.data.reading.account import account_lines
from hfllm.data.reading.examples import read_documents, read_rows
from hfllm.data.reading.find import find_files
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.paths import walk
from hfllm.runs.fingerprint import _matching_files

LINE = b'{"text": "x"}\n'
ROWS = [{"id": str(n), "text": f"line\n{n}, 'é'"} for n in range(3)]


def found(path: Path | str) -> list[str]:
    return [file.name for file in find_files(SourceConfig(path=str(path)), Path)]


def put(path: Path, raw: bytes = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def test_hidden_files_and_cards_are_no_documents_and_what_is_passed_over_is_said(tmp_path):
    for name in (
        "data/train.jsonl", "data/more.ndjson", ".ipynb_checkpoints/train-checkpoint.jsonl",
        "data/.train.jsonl.swp", "README.md", "LICENSE", "a.pdf", "b.pdf", "part-0",
    ):  # fmt: skip
        put(tmp_path / name)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    source, ledger = SourceConfig(path=str(tmp_path), name="set"), Ledger()
    for document in read_documents([source], Path, ledger):
        ledger.keep(document)
    ledger.check()
    assert ledger.total("kept") == 2
    assert list(account_lines(ledger, [source])) == [
        "set: files read: 1 .ndjson, 1 .jsonl; passed over: 2 cards (LICENSE), 2 .pdf (a.pdf), "
        "1 broken links (gone.jsonl), 1 without ending (part-0), 1 no files (pipe.jsonl), "
        "2 hidden (train-checkpoint.jsonl)"
    ]
    assert found(tmp_path / "README.md") == ["README.md"]  # named by its path, it is a document
    assert found(tmp_path / "*") == ["more.ndjson", "train.jsonl"]


def test_a_file_with_several_names_is_read_once(tmp_path):
    """Links to a file and to a folder, under the folder and under a link to it."""
    put(tmp_path / "data" / "b.jsonl")
    put(tmp_path / "data" / "sub" / "c.jsonl")
    put(tmp_path / "data" / "README.md")
    (tmp_path / "data" / "a.jsonl").symlink_to("b.jsonl")
    (tmp_path / "data" / "z.jsonl").symlink_to("sub/c.jsonl")
    (tmp_path / "other.jsonl").symlink_to("data/b.jsonl")
    (tmp_path / "set").symlink_to("data")
    for path in ("data", "set", "data/**", "set/**", "data/*"):
        source, ledger = SourceConfig(path=str(tmp_path / path), name="set"), Ledger()
        assert found(tmp_path / path) == ["b.jsonl", "c.jsonl"]
        assert len(list(read_rows(source, Path, ledger))) == 2
        assert list(account_lines(ledger, [source])) == [
            "set: passed over: 1 cards (README.md), 2 links to files that are read (a.jsonl)"
        ]
    assert found(tmp_path / "*.jsonl") == ["other.jsonl"]
    assert found(tmp_path / "data" / "a.jsonl") == ["a.jsonl"]


PACKED = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
    ".zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True),
}  # fmt: skip


def as_table(sign: str) -> bytes:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, ["id", "text"], delimiter=sign)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode("utf-8-sig")


FILES = {
    "jsonl": "".join(json.dumps(row) + "\r\n" for row in ROWS).encode(),
    "ndjson": "".join(json.dumps(row) + "\n\n" for row in ROWS).encode(),
    "json": json.dumps(ROWS, indent=1).encode("utf-8-sig"),
    "csv": as_table(","),
    "tsv": as_table("\t"),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("ending", FILES)
def test_every_kind_of_file_gives_the_same_rows_packed_or_not(tmp_path, ending, packed):
    raw = PACKED[packed](FILES[ending])
    path = put(tmp_path / f"a.{ending}{packed}", raw)
    rows = list(read_rows(SourceConfig(path=str(path)), Path))
    assert rows == [row | {"source": "a"} for row in ROWS]
    if packed:
        put(path, raw[: len(raw) // 2])
        with pytest.raises(DataError, match=r"a\.\w+\.\w+: .*(cut off|runcated|unreadable|ended)"):
            list(read_rows(SourceConfig(path=str(path)), Path))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a,b\n1,2,3\n", "a.csv:2: 3 cells, but the header has 2"),
        (b"a,a\n1,2\n", "two columns of the header have one name: a, a"),
        (b'a,b\n"1,2\n', "a.csv:2: broken table"),
        (b"a,b\ncaf\xe9,2\n", r"a.csv:2: invalid UTF-8 \(0xe9"),
    ],
)
def test_broken_tables_are_one_line(tmp_path, raw, message):
    with pytest.raises(DataError, match=message):
        list(read_rows(SourceConfig(path=str(put(tmp_path / "a.csv", raw))), Path))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = put(tmp_path / "a.jsonl", b'{"text": "x", "text": "y"}\n')
    with pytest.raises(DataError, match="a.jsonl:1: the key 'text' stands twice"):
        list(read_rows(SourceConfig(path=str(path)), Path))


def test_paths_as_a_shell_user_writes_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(tmp_path / "set"))
    monkeypatch.delenv("NOT_SET", raising=False)
    put(tmp_path / "set" / "a.jsonl")
    put(tmp_path / "odd [1]*?" / "b[2].jsonl")
    put(tmp_path / "odd [1]*?" / "b[3].jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    for path in ("~/set", "$HOME/set/*.jsonl", "${DATA}", "~/link", "~/l*", "$DATA/a.jsonl"):
        assert found(path) == ["a.jsonl"], path
        assert [file.name for file, *_ in _matching_files(path)] == ["a.jsonl"], path
    assert found(tmp_path / "odd [1]*?" / "b[2].jsonl") == ["b[2].jsonl"]
    assert found(tmp_path / "odd [1]*?" / "*.jsonl") == ["b[2].jsonl", "b[3].jsonl"]
    assert found(tmp_path / "odd [1]*?") == ["b[2].jsonl", "b[3].jsonl"]
    with pytest.raises(DataError, match=r"the variable \$NOT_SET is not set"):
        found("$NOT_SET/a.jsonl")


def test_links_are_followed_and_a_loop_ends(tmp_path):
    put(tmp_path / "set" / "a.jsonl")
    put(tmp_path / "other" / "b.jsonl")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "self.jsonl").symlink_to(tmp_path / "self.jsonl")
    assert found(tmp_path / "set") == ["a.jsonl", "b.jsonl"]
    with pytest.raises(DataError, match="self.jsonl; it is a link to a place that does not exist"):
        found(tmp_path / "self.jsonl")


def test_what_is_no_file_or_folder_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "empty").mkdir()
    put(tmp_path / "cards" / "README.md")
    for path, message in (
        ("pipe.jsonl", "neither a file nor a folder"),
        ("empty", r"no readable file in .*empty \(readable"),
        ("cards", r"no readable file in .*passed over: 1 cards"),
        ("none/*.jsonl", "no file"),
    ):
        with pytest.raises(DataError, match=message) as error:
            found(tmp_path / path)
        assert "\n" not in str(error.value)


def test_a_folder_without_the_right_to_read_is_one_line(tmp_path, monkeypatch):
    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    put(tmp_path / "a.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)  # this user may be root, who may all
        with pytest.raises(DataError, match="a.jsonl: may not be read; change its permissions"):
            found(tmp_path)
    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ValueError, match="Permission denied; change its rights"):
        list(walk(tmp_path))
    with pytest.raises(DataError, match="Permission denied; change its rights"):
        found(tmp_path)


def test_a_name_that_is_no_text_does_not_break_the_message(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9\n.jsonl"
    with open(path, "wb") as file:
        file.write(b"{broken\n")
    with pytest.raises(DataError, match="caf\ufffd\ufffd.jsonl:1: broken JSON") as error:
        list(read_rows(SourceConfig(path=str(tmp_path)), Path))
    assert "\n" not in str(error.value) and str(error.value).encode()
