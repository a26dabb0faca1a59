"""Preflight finds the problems of a recipe before any step runs, and lists all of them at once."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.runs.preflight import preflight
from hfllm.runs.value_checks import check_values
from tiny import MODEL

ALL = ["tokenizer", "pretrain", "sft", "reward", "ppo"]
Usage = namedtuple("Usage", "total used free")


def problems(workspace, *overrides, names=ALL):
    with pytest.raises(RecipeError) as caught:
        preflight(workspace.load(*overrides), names)
    assert all(line.startswith("recipe.yaml: ") for line in str(caught.value).splitlines())
    return caught.value.problems


def test_the_tiny_recipe_passes(workspace):
    preflight(workspace.load(), ALL)


def test_steps_that_will_not_run_are_not_checked(workspace):
    preflight(workspace.load("sft.data.mixture[0].path=gone.jsonl"), ["tokenizer", "pretrain"])


def test_an_adapter_is_no_whole_model(workspace):
    folder = workspace.folder / "runs" / "lora" / "sft" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (line,) = problems(workspace, f"sft.init={folder}", names=["sft"])
    assert line.startswith(f"sft.init: {folder} is an adapter of peft, no whole model: name the ")
    assert str(folder.parent / "model") in line


EVALUATE = {
    "models": ["pretrain"],
    "tasks": {
        "pairs": {"kind": "preference", "source": {"step": "reward", "file": "heldout.jsonl"}}
    },
}


def test_an_evaluation_that_cannot_work_is_told_before_any_training(workspace):
    workspace.recipe({"evaluate": EVALUATE})
    assert problems(workspace, names=["evaluate"]) == [
        "evaluate.tasks.pairs.source: reward holds nothing out; set reward.data.holdout=0.1",
        "evaluate.tasks.pairs.kind: tests a reward model; name it under evaluate.reward",
    ]
    found = problems(workspace, "evaluate.tasks.pairs.kind=guess", names=["evaluate"])
    assert found[1].startswith("evaluate.tasks.pairs.kind: 'guess' is none of bits_per_byte, ")
    for key in ("limit", "max_new_tokens"):
        found = problems(workspace, f"evaluate.tasks.pairs.{key}=0", names=["evaluate"])
        assert any(f"tasks.pairs.{key}: must be 1 or more, not 0" in line for line in found)
    names = "evaluate.reward, evaluate.reference among its models"
    needs = f"evaluate.best_of: needs {names}, and numbers from 1 to 64, each once"
    held = ("reward.data.holdout=0.2", "evaluate.reward=reward")
    assert needs in problems(workspace, *held, "evaluate.best_of=[4]", names=["evaluate"])
    both = (*held, "evaluate.reference=sft", "evaluate.models=[sft]")
    assert needs in problems(workspace, *both, "evaluate.best_of=[4,4]", names=["evaluate"])
    preflight(workspace.load(*both, "evaluate.best_of=[4]"), ["evaluate"])


def test_two_models_of_one_name_are_told_before_any_training(workspace):
    tasks = {"t": {"kind": "replies", "source": {"step": "sft", "file": "a"}}}
    workspace.recipe({"evaluate": {"models": ["a/SmolLM2", "b/SmolLM2"], "tasks": tasks}})
    (found,) = problems(workspace, names=["evaluate"])
    assert found == "evaluate.models: two are called 'SmolLM2' in the tables; rename a folder"


def test_a_judge_needs_something_to_judge(workspace):
    workspace.recipe({"ppo": {"init": "sft", "reward": "reward", "judge": "sft"}})
    weights = "ppo.judge: weights reward_functions, and none is set; set some, or remove the judge"
    assert problems(workspace, names=["ppo"]) == [weights]
    above = "ppo.judge_nats: must be 0 or more, not -1.0"
    functions = 'ppo.reward_functions=["hfllm.rl.rewards:length_reward"]'
    assert problems(workspace, functions, "ppo.judge_nats=-1", names=["ppo"]) == [above]
    preflight(workspace.load(functions, "ppo.judge_nats=0"), ["ppo"])
    floor = "ppo.length_floor: must be 1 or more, not 0"
    assert problems(workspace, functions, "ppo.length_floor=0", names=["ppo"]) == [floor]
    alone = ("ppo.judge=null", "ppo.judge_nats=5")
    assert problems(workspace, functions, *alone, names=["ppo"]) == [
        "ppo.judge_nats: it acts on ppo.judge, which is not set"
    ]


def test_a_curation_that_cannot_work_is_told_before_it_starts(workspace):
    filters = {"exempt": {"documents": ["shrot"], "web": ["short"]}}
    curate = {"sources": [{"path": "data/documents.jsonl"}], "holdout": 2, "filters": filters}
    workspace.recipe({"curate": curate})
    found = problems(workspace, names=["curate"])
    assert found == [
        "curate.holdout: must be 0 or more and below 1, not 2.0",
        "curate.filters.exempt: 'web' is no source; use one of documents",
        "curate.filters.exempt.documents: no filter has the reason 'shrot'. Did you mean: 'short'?",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sft.data.mixture[0].path=data/chat.jsonl", "did you mean data/chats.jsonl?"),
        ("sft.data.mixture[0].path=data/none.pdf", "no file data/none.pdf"),
        ("sft.data.mixture[0].on_error=ignore", "on_error: 'ignore' is unknown; known: raise"),
        ("sft.data.mixture[0].format=chatml", "format: 'chatml' is unknown"),
        ("sft.data.mixture[0].weight=-1", "data.mixture[0].weight: must be above 0, not -1.0"),
        ("sft.data.mixture[0].limit=0", "data.mixture[0].limit: must be 1 or more, not 0"),
        ("sft.data.mixture[0].allow_dropped=80", "allow_dropped: must be from 0 to 1, not 80.0"),
        ("sft.trainer.eval_strategy=steps", "sft.trainer.eval_strategy: steps needs sft.data.held"),
        ("sft.data.seq_len=4", "sft.data.seq_len: must be 8 or more, not 4"),
        ("sft.data.mixture=[{path: data/chats.jsonl},{path: data/chats.jsonl}]", "'chats'; give"),
    ],
)
def test_data_problems_name_step_and_key(workspace, override, expected):
    found = problems(workspace, override)
    assert len(found) == 1
    assert found[0].startswith("sft.")
    assert expected in found[0]


def test_data_of_a_step_that_has_not_run_is_no_problem(workspace):
    workspace.recipe({"curate": {"sources": [{"path": "data/documents.jsonl"}]}})
    preflight(workspace.load("pretrain.data.mixture=[{step: curate}]"), ["curate", "pretrain"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pretrain.model.hiden_size=3", "pretrain.model.hiden_size: no key of a llama config. Did"),
        ("pretrain.model.model_type=lama", "transformers has no 'lama'. Did you mean: 'llama'?"),
        ("pretrain.model.hidden_size=33", "The hidden size (33) is not a multiple of"),
        ("pretrain.model.vocab_size=9", "pretrain.model.vocab_size: 9 is smaller than the token"),
        ("pretrain.data.seq_len=x", "pretrain.data.seq_len: Value 'x'"),
        ("pretrain.model.max_position_embeddings=32", "seq_len: 64 is beyond the 32 positions"),
    ],
)
def test_the_model_is_checked_before_curation_starts(workspace, override, expected):
    found = problems(workspace, override)
    assert expected in found[0]


def test_later_rows_must_fit_the_first_models_positions(workspace):
    found = problems(workspace, "sft.data.seq_len=128", "reward.data.seq_len=65")
    assert [p.split(": ")[0] for p in found] == ["sft.data.seq_len", "reward.data.seq_len"]
    assert "128 is beyond the 64 positions of the model (step 'pretrain')" in found[0]
    overrides = ("sft.data.seq_len=128", "pretrain.model.max_position_embeddings=128")
    preflight(workspace.load(*overrides), ALL)


def test_rows_must_fit_a_model_from_outside(workspace):
    from transformers import LlamaConfig

    values = {k: v for k, v in MODEL.items() if k != "model_type"}
    LlamaConfig(**values, max_position_embeddings=48).save_pretrained("base")
    found = problems(workspace, "sft.init=base", names=["sft"])
    assert found[0].startswith("sft.data.seq_len: 64 is beyond the 48 positions of the model")


def test_a_model_of_ours_that_is_not_there_yet_is_told_with_its_command(workspace):
    workspace.load("sft.init=models/Gone")  # a recipe can be shown all the same
    (found,) = problems(workspace, "sft.init=models/Gone", names=["sft"])
    assert found == (
        "sft.init: no folder models/Gone; `make model` fetches models/SmolLM2-135M-Instruct"
    )
    (found,) = problems(workspace, "sft.init=runs/gone/sft/model", names=["sft"])
    assert found.endswith("; run the recipe that writes runs/gone first")


def test_a_gguf_file_is_opened_wherever_a_model_is_named(workspace):
    Path("no.gguf").write_bytes(b"hello")
    tasks = {"t": {"kind": "replies", "source": {"step": "sft", "file": "a"}}}
    workspace.recipe({"evaluate": {"models": ["sft", "no.gguf"], "tasks": tasks}})
    (found,) = problems(workspace, names=["evaluate"])
    assert found.startswith("evaluate.models[1]: no.gguf is no GGUF file: it starts with b'hell'")
    (found,) = problems(workspace, "sft.init=no.gguf", names=["sft"])
    assert found.startswith("sft.init: no.gguf is no GGUF file")


def test_problems_of_models_and_trainers_come_together(workspace):
    found = problems(workspace, "pretrain.model.hiden_size=3", "sft.trainer.learning_rat=3")
    assert [p.split(":")[0] for p in found] == [
        "sft.trainer.learning_rat",
        "pretrain.model.hiden_size",
    ]


def test_too_little_disk_is_told(workspace, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 2 * 10**8))
    found = problems(workspace)
    assert len(found) == 1
    assert found[0].startswith("run_dir: 0.20 GB free on the disk of ")
    assert "set run_dir=OTHER" in found[0]


def test_a_missing_launch_config_is_told(workspace):
    workspace.recipe({"launch": {"config": "configs/accelerate/dpp.yaml"}}, only=("launch", *ALL))
    assert problems(workspace) == ["launch.config: no file configs/accelerate/dpp.yaml"]


def test_a_folder_that_cannot_be_written_is_told(workspace, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert "cannot be written; set run_dir=OTHER" in problems(workspace)[0]


def test_a_file_in_the_place_of_the_run_folder_is_told(workspace):
    (workspace.folder / "runs").write_text("")
    assert "run_dir: runs cannot be written" in problems(workspace)[0]


def test_sources_that_would_share_a_folder_are_told_before_any_training(workspace):
    """Of two held-out sources in one folder the second replaced the first, in silence."""
    two = "[{name: my set, path: %s}, {name: my/set, path: %s}]"
    texts, chats = two % (("data/heldout.jsonl",) * 2), two % (("data/chats.jsonl",) * 2)
    found = problems(
        workspace, f"pretrain.data.heldout={texts}", f"sft.data.mixture={chats}", names=["pretrain"]
    )
    assert found == [
        "pretrain.data.heldout: sources 'my set' and 'my/set' would be packed into one folder "
        "(my_set); give one of them another `name:`"
    ]


def test_show_and_the_checks_before_a_run_refuse_the_same_values(workspace):
    workspace.recipe({"evaluate": EVALUATE})
    wrong = (
        "evaluate.tasks.pairs.kind=guess",
        "sft.data.turns=some",
        "pretrain.data.seq_len=2",
        "sft.data.mixture=[{path: gone.jsonl}]",  # a missing file may be shown
    )
    recipe = workspace.load(*wrong)
    with pytest.raises(RecipeError) as shown:
        check_values(recipe, list(recipe.steps))
    run = problems(workspace, *wrong, names=list(recipe.steps))
    assert [one for one in run if "no file" not in one] == shown.value.problems
    assert len(shown.value.problems) == 4
