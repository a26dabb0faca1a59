"""`hfllm run`, also with --dry-run, finds in the first rows what the steps would refuse later."""

import dataclasses
import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from transformers import LlamaConfig

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.stage import Stage
from hfllm.runs.preflight import preflight, unread_rows
from hfllm.stages import find_stages
from tiny import MODEL, chat, pair, prompt, write_jsonl

ALL = ["tokenizer", "pretrain", "sft", "reward", "ppo"]


def problems(workspace, *overrides, names=ALL):
    with pytest.raises(RecipeError) as caught:
        preflight(workspace.load(*overrides), names, with_rows=True)
    return caught.value.problems


def test_the_tiny_recipe_passes_before_and_after_its_steps(workspace, trained):
    preflight(workspace.load(), ALL, with_rows=True)
    preflight(trained.load(), ["sft", "reward", "ppo"], with_rows=True)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sft.data.mixture[0].path=data/pairs.jsonl", "these rows are preference pairs"),
        ("reward.data.mixture[0].path=data/chats.jsonl", "these rows are conversations"),
        ("pretrain.data.mixture[0].path=data/chats.jsonl", "these rows are conversations"),
        ("ppo.data.mixture[0].path=data/documents.jsonl", "these rows are documents"),
        ("sft.data.mixture[0].columns={turns: messages}", "no column 'turns' to rename; it has: "),
        ("sft.data.mixture[0].where={kind: good}", "no column 'kind' to select by"),
        ("sft.data.replay=[{name: r, path: data/chats.jsonl}]", "these rows are conversations"),
        ("tokenizer.data[0].path=data/pairs.jsonl", "these rows are preference pairs"),
    ],
)
def test_rows_of_another_kind_are_found(workspace, override, expected):
    (found,) = problems(workspace, override)
    key, _, _ = override.split("=")[0].partition("[0]")
    assert found.startswith(f"{key}[0]: ")
    assert expected in found


def test_rows_that_are_no_documents_are_found_before_they_are_curated(workspace):
    for path in ("data/documents.jsonl", "data/chats.jsonl"):
        workspace.recipe({"curate": {"sources": [{"path": path}]}})
        if path == "data/documents.jsonl":
            preflight(workspace.load(), ["curate"], with_rows=True)
    (found,) = problems(workspace, names=["curate"])
    assert found.startswith("curate.sources[0]: ") and "these rows are conversations" in found


def test_rows_that_are_no_prompts_are_found_before_constraints_are_added(workspace):
    for path, answered in (("prompts", None), ("chats", 3), ("prompts", 3), ("documents", None)):
        prompts = [{"path": f"data/{path}.jsonl"}]
        workspace.recipe({"instructions": {"prompts": prompts, "demonstrations": answered}})
        if (path, answered) in (("prompts", None), ("chats", 3)):
            preflight(workspace.load(), ["instructions"], with_rows=True)
            continue
        (found,) = problems(workspace, names=["instructions"])
        assert found.startswith("instructions.prompts[0]: ")
        assert f"these rows are {path}" in found


def has_sources(kind) -> bool:
    """Whether a type holds a source at any depth."""
    if dataclasses.is_dataclass(kind):
        return kind is SourceConfig or any(map(has_sources, get_type_hints(kind).values()))
    return any(map(has_sources, get_args(kind)))


def test_every_stage_with_sources_looks_at_their_first_rows():
    stages = find_stages()
    assert [name for name in stages if has_sources(stages[name].config)] == [
        name for name in stages if stages[name].first_rows is not Stage.first_rows
    ]


def test_all_steps_are_looked_at(workspace):
    found = problems(
        workspace,
        "sft.data.mixture[0].path=data/pairs.jsonl",
        "reward.data.mixture[0].path=data/chats.jsonl",
    )
    assert [line.split(":")[0] for line in found] == [
        "sft.data.mixture[0]", "reward.data.mixture[0]"
    ]  # fmt: skip


def test_modules_that_the_model_has_not_are_found(workspace):
    peft = "sft.peft={r: 2, target_modules: [q_prj, v_proj]}"
    preflight(workspace.load(peft.replace("q_prj", "q_proj")), ALL, with_rows=True)
    (found,) = problems(workspace, "sft.peft={r: 2, target_modules: [q_prj]}")
    assert found.startswith("sft.peft: Target modules {'q_prj'} not found in the base model.")
    assert "Did you mean: 'q_proj'?" in found
    assert "The model has down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj" in found


FUNCTIONS = """
def good(completions, answer, **kwargs):
    return [0.0] * len(completions)

def other_column(completions, truth, **kwargs):
    return [0.0] * len(completions)

def no_kwargs(completions):
    return [0.0] * len(completions)
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_rewards_a:good", None),
        ("my_rewards_a:god", "my_rewards_a has no function 'god'"),
        ("my_rewards:good", "no module 'my_rewards'"),
        ("my_rewards_a:other_column", "reward function other_column: missing a required argument"),
        ("my_rewards_a:no_kwargs", "take what it does not read with **kwargs"),
        ("my_rewards_b:good", "importing it failed: NameError: name 'oops' is not defined"),
    ],
)
def test_reward_functions_are_imported_and_could_be_called(workspace, name, expected):
    Path("my_rewards_a.py").write_text(FUNCTIONS)
    Path("my_rewards_b.py").write_text("oops")
    override = f'ppo.reward_functions=["{name}"]'
    if expected is None:
        preflight(workspace.load(override), ALL, with_rows=True)
        return
    (found,) = problems(workspace, override)
    assert found.startswith("ppo.reward_functions: ")
    assert expected in found


TESTS = {
    "answers": {"prompt": "Who?", "answer": "A baker."},
    "choices": {"query": "Who?", "choices": ["a", "b"], "gold": 1},
    "continuation": {"context": "A", "continuation": "b"},
    "instructions": {"prompt": "Who?", "constraints": [{"kind": "words"}]},
    "replies": {"prompt": "Who?"},
    "preference": pair(0),
    "bits_per_byte": {"text": "A text."},
}


@pytest.mark.parametrize("kind", TESTS)
def test_tests_of_another_shape_are_found(workspace, kind):
    write_jsonl(Path("data/right.jsonl"), [TESTS[kind]])
    write_jsonl(Path("data/wrong.jsonl"), [{"other": 1}])
    tasks = {"t": {"kind": kind, "source": {"path": "data/right.jsonl"}}}
    workspace.recipe({"evaluate": {"models": ["sft"], "reward": "reward", "tasks": tasks}})
    preflight(workspace.load(), ["evaluate"], with_rows=True)
    (found,) = problems(
        workspace, "evaluate.tasks.t.source.path=data/wrong.jsonl", names=["evaluate"]
    )
    assert found.startswith("evaluate.tasks.t.source: ")
    assert "wrong.jsonl" in found


def test_the_mask_gate_sees_the_first_chats_where_the_tokenizer_is_there(trained):
    long = chat(0)
    long["messages"][0]["content"] = "Who is that person? " * 200
    write_jsonl(Path("data/long.jsonl"), [long])
    (found,) = problems(trained, "sft.data.mixture[0].path=data/long.jsonl", names=["sft"])
    assert found.startswith("sft.data.mixture[0]: mask gate: 1 of 1 conversations cannot be traine")


def test_a_model_without_a_template_is_found(trained):
    LlamaConfig(**{k: v for k, v in MODEL.items() if k != "model_type"}).save_pretrained("base")
    source = trained.folder / "runs/tiny/pretrain/model"
    for path in source.glob("*token*"):
        settings = path.read_text()
        Path("base", path.name).write_text(settings)
    settings = json.loads(Path("base/tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    Path("base/tokenizer_config.json").write_text(json.dumps(settings))
    found = problems(trained, "sft.init=base", "sft.data.seq_len=64", names=["sft"])
    assert any("chat template" in line or "chat_template" in line for line in found)


def test_sources_that_are_not_there_yet_are_told(workspace, trained):
    workspace.recipe(
        {
            "curate": {"sources": [{"path": "data/documents.jsonl"}]},
            "pretrain": {"data": {"mixture": [{"step": "curate"}]}},
            "sft": {"data": {"mixture": [{"hub": "owner/chats"}]}},
        }
    )
    recipe = workspace.load()
    preflight(recipe, ["curate", "tokenizer", "pretrain"], with_rows=True)
    assert unread_rows(recipe, ["curate", *ALL]) == (
        "rows not looked at, of 2 source(s): step 'curate' has not run, the hub"
    )
    assert unread_rows(recipe, ["reward"]) is None


def test_prompts_that_have_answers_are_fine(workspace):
    write_jsonl(Path("data/prompts.jsonl"), [prompt(0)])
    preflight(workspace.load(), ["ppo"], with_rows=True)
