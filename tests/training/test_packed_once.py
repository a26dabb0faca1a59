"""The main process packs; the other processes wait for its ledger before the barrier."""

import json
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

from hfllm.data.ledger import Ledger
from hfllm.training import packed_once as rows


def test_other_processes_wait_outside_the_barrier(tmp_path, monkeypatch):
    seen = []

    def pack_meanwhile(_):
        seen.append("waited")
        if len(seen) == 3:
            (tmp_path / rows.LEDGER).write_text(json.dumps(Ledger().to_json()))

    @contextmanager
    def barrier(**_):
        seen.append("barrier")
        yield

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(rows.time, "sleep", pack_meanwhile)
    found = rows.packed_once(
        tmp_path, SimpleNamespace(main_process_first=barrier), lambda: seen.append("packed")
    )
    assert seen == ["waited", "waited", "waited", "barrier"] and found.total == 0


def test_the_main_process_does_not_wait_and_packs(tmp_path, monkeypatch):
    made = Ledger()
    made.add("web", "in", documents=1)
    made.add("web", "kept", documents=1)

    @contextmanager
    def barrier(**_):
        yield

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(rows.time, "sleep", lambda _: 1 / 0)
    assert (
        rows.packed_once(
            tmp_path, SimpleNamespace(main_process_first=barrier), lambda: made
        ).ledger.total("kept")
        == 1
    )


def test_rows_that_were_packed_before_a_resume_are_packed_again_where_documents_mix(tmp_path):
    """As of a run that an older hfllm began; what has one document a row is kept."""
    made = Ledger()
    made.add("web", "in", documents=1)
    made.add("web", "kept", documents=1)
    calls = []

    def pack(problem):
        args = SimpleNamespace(main_process_first=lambda **_: nullcontext())
        split = rows.packed_once(tmp_path, args, lambda: calls.append(problem) or made, problem)
        return split.one_a_row

    assert [pack(None), pack(None)] == [None, None] and calls == [None]
    assert [pack("they mix"), pack("they mix"), pack(None)] == ["they mix"] * 3
    assert calls == [None, "they mix"]
