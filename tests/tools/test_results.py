"""tools/results.py: a block of a page from a run folder, and which blocks are old."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "report"))
from run_fixture import STEPS, write_run, write_step  # noqa: E402

SPEC = importlib.util.spec_from_file_location("results", ROOT / "tools" / "results.py")
assert SPEC and SPEC.loader
results = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(results)
STAGES = results.STAGES

BLOCKS = {
    "small": {
        "recipe": "configs/small.yaml",
        "columns": {"pretrain": "base", "sft": "SFT", "ppo": "PPO"},
        "rows": {
            "Facts right": "known_facts accuracy",
            "Bits per byte": "heldout_text bits_per_byte",
            "Not measured": "spelling accuracy",
        },
    },
    "seeds": {
        "recipe": "configs/small.yaml",
        "columns": "runs",
        "rows": {
            "Facts right after SFT": "sft known_facts accuracy",
            "PPO minus SFT": "ppo - sft known_facts accuracy",
        },
    },
}
PAGE = "Before.\n<!-- results:small -->\nold\n<!-- /results:small -->\nAfter.\n"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_a_block_is_the_table_of_a_run_with_command_date_commit_and_machine(tmp_path, page):
    run = write_run(tmp_path / "small")
    write_step(run, "evaluate", overrides=["name=two", "sft.trainer.max_steps=5"])
    text = results.filled(page, "small", BLOCKS["small"], [run])
    body = text.split("-->\n", 1)[1]
    assert text.startswith('Before.\n<!-- results:small {"recipe": "configs/small.yaml"')
    assert body == (
        "|  | base | SFT | PPO | n |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| Facts right | 21% [16, 26] | 74% [69, 79] | 82% [77, 87] | 200 |\n"
        "| Bits per byte | 0.81 [0.79, 0.83] | 0.84 [0.82, 0.86] | 0.84 [0.82, 0.86] | 300 |\n"
        "\n"
        "`hfllm run configs/small.yaml sft.trainer.max_steps=5`, 2026-11-25, commit 0f3c0f3c; "
        "Intel Xeon, 2 cores, 15.6 GB of memory; 24 min 20 s.\n"
        "<!-- /results:small -->\nAfter.\n"
    )
    page.write_text(text)
    assert results.filled(page, "small", BLOCKS["small"], [run]) == text


def test_several_runs_make_a_column_each_and_differences_are_signed(tmp_path):
    runs = [results.read_run(write_run(tmp_path / name), results.STAGES) for name in ("a", "b")]
    assert results.table(BLOCKS["seeds"], runs).splitlines()[2:] == [
        "| Facts right after SFT | 74% [69, 79] | 74% [69, 79] |",
        "| PPO minus SFT | +8 points [+2, +14] | +8 points [+2, +14] |",
    ]


def test_an_unfinished_run_and_a_page_without_the_block_are_one_line_each(tmp_path, page):
    run = write_run(tmp_path / "small", without=("evaluate",))
    with pytest.raises(ValueError, match="no finished evaluation"):
        results.filled(page, "small", BLOCKS["small"], [run])
    write_step(run, "evaluate")
    with pytest.raises(ValueError, match="no block <!-- results:seeds -->"):
        results.filled(page, "seeds", BLOCKS["seeds"], [run])
    with pytest.raises(ValueError, match="give one run folder"):
        results.filled(page, "small", BLOCKS["small"], [run, run])
    other = {**BLOCKS["small"], "recipe": "configs/demo.yaml"}
    with pytest.raises(ValueError, match="a run of configs/small.yaml; block small is of"):
        results.filled(page, "small", other, [run])


def test_a_run_that_kept_no_overrides_is_not_called_one_without(tmp_path, page):
    run = write_run(tmp_path / "small")
    assert "(its overrides are not recorded), 2026" in results.filled(
        page, "small", BLOCKS["small"], [run]
    )
    known = {"recipe": "configs/demo.yaml", "runs": [results.origin(results.read_run(run, STAGES))]}
    assert results.state(known) == "its run's overrides are not recorded; run the recipe again"


def test_check_finds_a_changed_recipe_and_names_the_steps(tmp_path, monkeypatch, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("tokenizer: {vocab_size: 300, data: [{path: r.yaml}]}\n")
    loaded = results.load_recipe(recipe, results.STAGES, [])
    mark = {"tokenizer": results.config_fingerprint(loaded, "tokenizer")}
    runs = [{"overrides": [], "commit": "unknown", "steps": mark}]
    block = json.dumps({"recipe": "r.yaml", "runs": runs})
    page = tmp_path / "page.md"
    page.write_text(f"<!-- results:a {block} -->\n<!-- /results:a -->\n<!-- results:b -->")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    specs = {"a": {"file": "page.md"}}
    assert results.check(specs) == 0
    recipe.write_text(recipe.read_text().replace("300", "301"))
    assert results.check(specs | {"b": {"file": "page.md"}}) == 1
    assert capsys.readouterr().out.splitlines() == [
        "page.md, a: as its recipe is now",
        "page.md, a: older than its recipe: tokenizer changed",
        "page.md, b: written by hand: no run is known",
    ]


def test_every_block_of_the_repository_has_its_place_and_its_recipe():
    specs = yaml.safe_load((ROOT / results.SPECS).read_text())
    for name, spec in specs.items():
        text = (ROOT / spec["file"]).read_text()
        assert text.count(f"<!-- results:{name}") == text.count(f"<!-- /results:{name} -->") == 1
        assert (ROOT / spec["recipe"]).is_file()
    assert set(STEPS) >= {"pretrain", "sft", "ppo"} == set(specs["demo"]["columns"])


def test_results_of_other_models_than_those_of_the_run_are_refused(tmp_path, page):
    run = write_run(tmp_path / "small")
    write_step(run, "sft", fingerprint="another")
    with pytest.raises(ValueError, match="evaluate is stale: made from another version of sft"):
        results.filled(page, "small", BLOCKS["small"], [run])
