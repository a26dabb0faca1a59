"""The whole page: it shows the figures, survives broken and hostile input, and loads nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_fixture import COST, LEDGERS, METRICS, STEPS, manifest, write_lines, write_run, write_step

from hfllm.report.build import build_report
from hfllm.report.card import model_card
from hfllm.runs.fingerprint import file_digest
from hfllm.stages import find_stages

STAGES = find_stages()


VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Text, tags and attributes of a page; checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(run_dir: Path) -> str:
    return build_report(run_dir, STAGES).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(write_run(tmp_path_factory.mktemp("whole") / "small"))


def test_every_ledger_and_cost_figure_of_the_manifests_stands_in_the_page(page: str) -> None:
    text = Reader(page).text
    figures = [row[u] for rows in LEDGERS.values() for row in rows for u in ("documents", "bytes")]
    figures += [tokens for _, tokens, _, _ in COST.values() if tokens]
    assert [f"{n:,}" for n in figures if f"{n:,}" not in text] == []
    for step in ("tokenizer", "reward"):
        assert f"{METRICS[step].get('vocab_size', 3_742_464):,}" in text
    trained = sum(COST[step][1] for step in STEPS if STAGES[step].trains)
    assert f"{trained:,} tokens trained on" in text


def test_page_is_well_nested_and_its_drawings_are_xml(page: str) -> None:
    Reader(page)
    drawings = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    assert len(drawings) > 40
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("viewBox") and root.get("aria-label")


def test_nothing_is_requested_from_anywhere(page: str) -> None:
    loading = {"src", "srcset", "data", "poster", "action", "xlink:href"}
    for tag, key, value in Reader(page).attributes:
        assert key not in loading, (tag, key, value)
        assert not key.startswith("on"), (tag, key)
        if key == "href":
            assert value.startswith("#") or value == "data:,", (tag, value)
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_entry_of_the_contents_leads_somewhere(page: str) -> None:
    found = Reader(page).attributes
    ids = [value for _, key, value in found if key == "id"]
    links = [value[1:] for tag, key, value in found if tag == "a" and key == "href"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    pages = [(page_of(run), (run / "report" / "report.md").read_text()) for _ in range(2)]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("missing", [tuple(STEPS[i:]) for i in range(len(STEPS))])
def test_partial_runs_name_what_was_not_run(tmp_path: Path, missing: tuple[str, ...]) -> None:
    text = Reader(page_of(write_run(tmp_path / "small", without=missing))).text
    assert f"Not run: {', '.join(missing)}." in text
    assert f"{len(STEPS) - len(missing)} of 8 steps done" in text


def test_an_empty_folder_and_a_missing_one(tmp_path: Path) -> None:
    assert "Nothing has been run yet." in page_of(tmp_path)
    assert "Nothing has been run yet." in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(ValueError, match="is not a run folder"):
        build_report(tmp_path / "nowhere", STAGES)


def test_a_failed_and_a_killed_step_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small", without=("evaluate",))
    write_step(run, "ppo", status="failed", error="ValueError: no <prompt> is left")
    write_step(run, "reward", status="running")
    text = Reader(page_of(run)).text
    assert "failed: ValueError: no <prompt> is left" in text
    assert "Step reward has no recorded end." in text
    assert "finds the better of two answers" not in text  # a step without an end claims nothing


def test_a_step_made_from_an_older_parent_is_called_stale(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    write_step(run, "pretrain", fingerprint="another")
    assert "stale: made from another version of pretrain" in Reader(page_of(run)).text


def test_a_parent_with_the_same_keys_and_another_result_is_another_version(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    write_step(run, "evaluate", parent_artifacts={"ppo": {"model": "cd34"}})
    assert "stale" not in Reader(page_of(run)).text
    write_step(run, "ppo", artifact={"model": "ef56"})
    assert "stale: made from another version of ppo" in Reader(page_of(run)).text
    assert "evaluate is stale: made from another version of ppo" in model_card(run / "ppo", STAGES)


def test_results_that_the_step_did_not_write_are_called_stale(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    results = run / "evaluate" / "results.json"
    written = {"results.json": file_digest(results)}
    write_step(run, "evaluate", digests=written)
    assert "stale" not in Reader(page_of(run)).text
    results.write_text(results.read_text().replace("0.82", "0.92"))
    stale = "stale: results.json has other bytes than the step wrote"
    assert stale in Reader(page_of(run)).text
    assert f"evaluate is {stale}" in model_card(run / "ppo", STAGES)
    results.unlink()
    assert "stale: results.json is gone" in Reader(page_of(run)).text


def test_broken_files_are_reported_and_do_not_stop_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    (run / "sft" / "manifest.json").write_text('{"status": "done", ')
    (run / "ppo" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo\n')
    (run / "evaluate" / "results.json").write_text("[]")
    (run / "pretrain" / "manifest.json").write_text(
        json.dumps(manifest("pretrain") | {"ledger": [{"source": "x"}, 3], "metrics": "none",
                                           "wall_s": "soon", "parents": ["curate"]})
    )  # fmt: skip
    text = Reader(page_of(run)).text
    assert "sft/manifest.json: not JSON" in text
    assert "ppo/metrics.jsonl: 1 unreadable line(s), the first is line 2" in text
    assert "evaluate/results.json: not a JSON object" in text


def test_text_of_the_data_is_never_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small")
    evil = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>|a`b"
    write_step(run, "sft", error=evil, status="failed", notes=[evil], ledger=[
        {"source": evil, "bucket": b, "documents": 1, "tokens": 1, "bytes": 1}
        for b in ("in", f"dropped:{evil}")
    ], metrics={evil: 1}, hardware={"cpu": evil}, versions={evil: evil}, recipe=evil)  # fmt: skip
    result = {"model": evil, "task": evil, "metric": evil, "value": 1, "low": 0, "high": 2, "n": 3}
    (run / "evaluate" / "results.json").write_text(json.dumps({"results": [result]}))
    sample = {"model": evil, "task": evil, "id": evil, "prompt": evil, "output": evil}
    write_lines(run / "evaluate" / "samples.jsonl", [sample | {"answer": evil, "correct": True}])
    write_lines(run / "pretrain" / "samples.jsonl", [{"step": 1, "prompt": evil, "text": evil}])
    write_lines(run / "ppo" / "metrics.jsonl", [{"step": i, evil: i} for i in range(3)])
    (run / "config.yaml").write_text(f"name: small\n{STEPS[0]}: {{}}  # {evil}\n")
    page = build_report(run, STAGES, title=evil).read_text(encoding="utf-8")
    reader = Reader(page)
    assert not {"script", "img"} & {tag for tag, _, _ in reader.attributes}
    assert "<script" not in page
    assert all(not key.startswith("on") for _, key, _ in reader.attributes)
    for drawing in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)
    markdown = (run / "report" / "report.md").read_text(encoding="utf-8")
    fenced = re.sub(r"```bash.*?```", "", markdown, flags=re.DOTALL)
    assert "<script" not in fenced and "<img" not in fenced
    assert re.search(r"(?<!\\)\|a(?<!\\)`b", fenced) is None


def test_steps_that_never_ran_are_known_from_the_report_step_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small", without=("ppo", "evaluate"), recipe=False)
    (run / "report").mkdir()
    parents = dict.fromkeys(STEPS, "f")
    (run / "report" / "manifest.json").write_text(json.dumps({"parents": parents}))
    assert "Not run: ppo, evaluate." in Reader(page_of(run)).text


def test_no_heavy_library_is_imported() -> None:
    code = (
        "import sys, hfllm.report.build, hfllm.report.card; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
