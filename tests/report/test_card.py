"""Model cards: front matter, data, settings, base models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from run_fixture import write_run, write_step

from hfllm.report.card import lineage, model_card
from hfllm.report.collect import Run
from hfllm.stages import find_stages

STAGES = find_stages()


def front_matter(card: str) -> str:
    return re.match(r"---\n(.*?)\n---\n", card, re.DOTALL).group(1)  # type: ignore[union-attr]


def test_card_tells_lineage_data_settings_and_results(run_dir: Path) -> None:
    card = model_card(run_dir / "sft", STAGES, licence="apache-2.0")
    assert 'license: "apache-2.0"' in front_matter(card)
    assert "pipeline_tag: text-generation" in front_matter(card)
    assert "world → curate → tokenizer → pretrain → sft" in card
    assert "| sft | chats | 6,000 | 5,988 | 402,113 | 393,980 |" in card
    assert "| tokens trained on | 786,202 |" in card
    assert "| Known facts: right | 21.0% \\[16.0, 26.0\\] | 74.0% \\[69.0, 79.0\\] ▲ |" in card


def test_lineage_leaves_out_what_the_model_was_not_made_from(run: Run) -> None:
    reward = next(step for step in run.steps if step.name == "reward")
    names = [step.name for step in lineage(run, reward)]
    assert names == ["world", "curate", "tokenizer", "pretrain", "sft", "reward"]


def test_unknowns_are_said_to_be_unknown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small", without=("evaluate",))
    write_step(run, "sft", config={"init": "owner/base", "trainer": {"learning_rate": 1e-3}})
    card = model_card(run / "sft", STAGES)
    assert "Not evaluated yet." in card and "license" not in front_matter(card)
    assert 'base_model: "owner/base"' in front_matter(card)
    assert "| learning\\_rate | 0.001 |" in card
    with pytest.raises(ValueError, match="no manifest"):
        model_card(run / "dpo", STAGES)


def test_a_reward_model_is_a_classifier(run_dir: Path) -> None:
    assert "pipeline_tag: text-classification" in front_matter(
        model_card(run_dir / "reward", STAGES)
    )


def test_credits_name_whose_data_it_was(run_dir: Path) -> None:
    card = model_card(run_dir / "sft", STAGES, credits=["Books: A & B, CC BY 4.0"])
    assert "## Whose data\n\n- Books: A &amp; B, CC BY 4.0\n" in card
    assert "Whose data" not in model_card(run_dir / "sft", STAGES)


def test_the_base_model_is_named_through_all_steps_with_its_licence(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    facts = {"kind": "import", "name": "Smol", "source": "Some Lab", "license": "apache-2.0",
             "file": "smol.Q4_1.gguf", "quantization": "Q4_1"}  # fmt: skip
    (base / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
    run = write_run(tmp_path / "small", without=("evaluate",))
    write_step(run, "sft", config={"init": str(base)})
    for name in ("sft", "reward"):  # the second was made from the first
        card = model_card(run / name, STAGES)
        line = card.split("## Base model")[1].splitlines()[2]
        assert line.endswith(
            "Smol, by Some Lab, from smol.Q4\\_1.gguf, quantised as Q4\\_1, licence apache-2.0"
        )
        assert "base_model:" not in front_matter(card)  # a folder of ours is no name on the hub
    made = write_run(tmp_path / "first", without=("evaluate",))
    write_step(made, "sft", config={"init": str(base)})
    write_step(made, "reward", config={"init": "sft"})
    for there in ("sft", "sft/model", "reward/model"):  # made by a step of another run
        write_step(run, "sft", config={"init": str(made / there)})
        card = model_card(run / "sft", STAGES)
        line = card.split("## Base model")[1].splitlines()[2]
        assert "first/" in line and ", made from `" in line
        assert line.endswith("quantised as Q4\\_1, licence apache-2.0")
    write_step(run, "sft", config={"init": str(base)})
    (base / "manifest.json").unlink()
    assert "its licence is not recorded: look it up" in model_card(run / "sft", STAGES)
    write_step(run, "sft", config={"init": "owner/base"})
    write_step(run, "reward", config={"init": "sft"})
    assert 'base_model: "owner/base"' in front_matter(model_card(run / "reward", STAGES))
    write_step(run, "reward", config={"init": "other/judge"})
    write_step(run, "sft", config={"init": "/moved/away"})
    assert 'base_model: "other/judge"' in front_matter(model_card(run / "reward", STAGES))
    assert "base_model" not in front_matter(model_card(run / "sft", STAGES))
