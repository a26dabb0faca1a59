"""Curation end to end on handmade documents: which are dropped, why, and that all are counted."""

import json
from pathlib import Path

import pytest

from hfllm.data.curation.config import CurateConfig, DedupConfig, FilterConfig
from hfllm.data.curation.curate import check_curate, curate
from hfllm.data.ledger import DataError
from hfllm.recipe.config import SourceConfig

STORY = (
    "Ada Miller is a baker in the town of Oakford. Every morning she walks to the mill with her "
    "dog Rex, buys two bags of flour, and talks to the miller about the weather and the river. "
    "In the evening she sits at the window and reads the letters that her brother has sent."
)
PAGE = (
    "<html><head><title>t</title><script>var a=1</script></head><body><nav><a href=/>Home</a></nav>"
    "<main><p>Tom Reed has a cat.</p><p>It sleeps on the stove of the inn all day.</p></main>"
    "<footer>Copyright</footer></body></html>"
)
KEEP = {"verdict": "keep"}
CAT = "Tom Reed has a cat. It sleeps on the stove of the inn all day."
SUMS = "Sums for the class of the day.\n37 + 45 = 82. 12 - 7 = 5. 3 * 4 = 12. 9 + 9 = 18."
MAIL = "Write to ada@mill.org or call (555) 123-4567 to learn more of the mill."
GOOD = {
    "story": ({"text": STORY}, {}),
    "page": ({"html": PAGE}, {"main_text": CAT}),
    "sums": ({"text": SUMS}, {}),
    "mail": ({"text": MAIL}, {"pii": ["ada@mill.org", "(555) 123-4567"]}),
}
BAD = {
    "empty": ({"text": "  "}, "empty"),
    "bare": ({"html": "<html><body><nav>Home</nav></body></html>"}, "no_text"),
    "little": ({"text": "Read more."}, "short"),
    "copy": ({"text": STORY.upper() + "\n"}, "exact_duplicate"),
    "near": ({"text": STORY + " Read it again."}, "near_duplicate"),
    "salad": ({"text": "xkq zzpf wqel trk blpz qqz vvbn mrtk wwpq zzkl"}, "gibberish"),
    "german": ({"text": "Der alte Mann sitzt auf der Bank und liest die Zeitung."}, "language"),
    "signs": ({"text": "#$% the {|} cat <~> sat ### on *** the {} mat"}, "symbols"),
    "menu": ({"text": "Click here to win the prize of the day!\n" * 6}, "repeated_lines"),
    "table": ({"text": "the 123 456 789 120 of 933 844 755 666"}, "few_alpha_words"),
    "leak": ({"text": "Of the test: What does Ada Miller do? She bakes."}, "contamination"),
}
ROWS = [
    (name, payload, {"verdict": "keep", "reason": None} | more)
    for name, (payload, more) in GOOD.items()
] + [
    (name, payload, {"verdict": "drop", "reason": reason})
    for name, (payload, reason) in BAD.items()
]


@pytest.fixture
def web(tmp_path) -> Path:
    with (tmp_path / "web.jsonl").open("w") as file:
        for name, payload, truth in ROWS:
            truth = {"pii": [], "main_text": None} | truth
            file.write(json.dumps({"id": name, "kind": "k"} | payload | {"truth": truth}) + "\n")
    test = {"id": "q1", "prompt": [{"role": "user", "content": "What does Ada Miller do?"}]}
    (tmp_path / "test.jsonl").write_text(json.dumps(test) + "\n")
    return tmp_path


def config(web: Path, **more) -> CurateConfig:
    sources = [SourceConfig(path=str(web / "web.jsonl"))]
    tests = [SourceConfig(path=str(web / "test.jsonl"))]
    return CurateConfig(sources=sources, decontaminate=tests, **more)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def nowhere(step: str) -> Path:
    raise ValueError(step)


def test_every_reason_is_found_and_the_ledger_is_conserved(web):
    ledger = curate(config(web), nowhere, web / "out")
    kept = {row["id"]: row for row in read(web / "out" / "kept.jsonl")}
    assert list(kept) == ["story", "page", "sums", "mail"]
    assert kept["page"]["text"] == "Tom Reed has a cat.\nIt sleeps on the stove of the inn all day."
    assert kept["mail"]["text"] == "Write to <email> or call <phone> to learn more of the mill."
    assert all(row["source"] == "web" and row["kind"] == "k" for row in kept.values())
    assert not any("truth" in row or "html" in row for row in kept.values())
    dropped = {row["id"]: row for row in read(web / "out" / "dropped.jsonl")}
    expected = {name: truth["reason"] for name, _, truth in ROWS if truth["verdict"] == "drop"}
    assert {name: row["reason"] for name, row in dropped.items()} == expected
    assert dropped["near"]["detail"] == dropped["copy"]["detail"] == "web/story"
    assert dropped["leak"]["detail"] == "q1"
    ledger.check()
    assert (ledger.total("in"), ledger.total("kept"), ledger.total("dropped")) == (15, 4, 11)
    kept_bytes = sum(len(row["text"].encode()) for row in kept.values())
    assert ledger.total("kept", "bytes") == kept_bytes
    assert ledger.total("changed:boilerplate", "bytes") == len(PAGE) - len(kept["page"]["text"])
    assert not (web / "out" / "heldout.jsonl").exists()


def test_the_truth_is_compared_with_and_mistakes_are_listed(web):
    filters = FilterConfig(min_words=30)  # much too strict: the three short good ones go
    curate(config(web, filters=filters), nowhere, web / "out")
    truth = json.loads((web / "out" / "curation.json").read_text())["truth"]
    assert truth["by_filter"]["short"]["truth"]["keep"] == 3
    assert truth["by_truth"]["exact_duplicate"] == {
        "documents": 1, "recall": 1.0, "curator": {"exact_duplicate": 1},
    }  # fmt: skip
    assert truth["overall"] == {"documents": 15, "precision": round(11 / 14, 4), "recall": 1.0}
    assert [row["id"] for row in truth["mistakes"]["wrongly_dropped"]] == ["page", "sums", "mail"]

    curate(config(web), nowhere, web / "out")
    truth = json.loads((web / "out" / "curation.json").read_text())["truth"]
    assert truth["pii"] == {"planted": 2, "recall": 1.0, "precision": 1.0}
    assert truth["extraction"] == {"words": 15, "precision": 1.0, "recall": 1.0}
    assert truth["mistakes"] == {}


def test_two_runs_write_the_same_bytes(web):
    for out in ("one", "two"):
        curate(config(web, holdout=0.5), nowhere, web / out)
    for name in ("kept.jsonl", "dropped.jsonl", "heldout.jsonl", "curation.json"):
        assert (web / "one" / name).read_bytes() == (web / "two" / name).read_bytes(), name


def test_holdout_by_title_splits_no_book(tmp_path):
    with (tmp_path / "books.jsonl").open("w") as file:
        for i in range(200):
            row = {"id": f"author/title-{i // 4}#{i % 4}", "text": f"Chapter {i} of the book."}
            file.write(json.dumps(row) + "\n")
    source = SourceConfig(path=str(tmp_path / "books.jsonl"))
    plan = CurateConfig(sources=[source], filters=None, dedup=None, holdout=0.2)
    plan.holdout_group = "title"
    ledger = curate(plan, nowhere, tmp_path / "out")
    parts = [
        {row["id"].split("#")[0] for row in read(tmp_path / "out" / name)}
        for name in ("kept.jsonl", "heldout.jsonl")
    ]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 50
    assert 0.1 < len(parts[1]) / 50 < 0.3
    assert ledger.reasons() == {"heldout": 4 * len(parts[1])}


def test_a_source_can_be_exempt_from_a_filter(web):
    filters = FilterConfig(exempt={"web": ["symbols", "few_stop_words"]})
    curate(config(web, filters=filters), nowhere, web / "out")
    assert "signs" in [row["id"] for row in read(web / "out" / "kept.jsonl")]


def test_wrong_configs_are_refused_before_any_reading(web):
    plan = config(web, holdout=1.5, holdout_group="book", dedup=DedupConfig(similarity=80))
    plan.filters = FilterConfig(exempt={"wbe": ["short"]})
    assert len(check_curate(plan)) == 2
    with pytest.raises(DataError, match="holdout: must be 0 or more and below 1, not 1.5"):
        curate(plan, nowhere, web / "out")
    with pytest.raises(ValueError, match="no language 'english'; use ISO"):
        curate(config(web, filters=FilterConfig(languages=["english"])), nowhere, web / "out")
    with pytest.raises(
        DataError, match="kept none of 15 documents .dropped: short 13, empty 1, no_text 1"
    ):
        curate(config(web, filters=FilterConfig(min_words=500)), nowhere, web / "out")
