"""Sample: scores are those of the written texts, the best is the best, children read the files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hfllm.data.ledger import Ledger
from hfllm.inference.generate import Generator
from hfllm.launch import run_step
from hfllm.recipe.errors import RecipeError
from hfllm.rl import sampled_answers
from hfllm.runs.preflight import preflight
from hfllm.runs.status import status
from hfllm.tokenization.chat_template import END
from hfllm.tokenization.encode import encode_text
from tiny import TRAINER

TINY: dict[str, Any] = {
    "data": {"mixture": [{"path": "data/prompts.jsonl"}]},
    "reward_functions": ["hfllm.rl.rewards:length_reward"],
    "num_generations": 4,
    "max_completion_length": 8,
    "keep_unended": True,
    "batch_size": 8,
}
VOWELS = """
def vowels(prompts, completions, completion_ids, answer, **_):
    return [float(sum(c[0]["content"].count(v) for v in "aeiou")) for c in completions]

def some(completions, id, **_):
    return [None if int(one[1:]) % 2 else 1.0 for one in id]

def none(completions, **_):
    return [None for _ in completions]
"""
PAYS = {"reward_functions": ["pays:vowels"], "reward": None}
FILES = ("chats", "pairs", "samples")


def rows(step: Any, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (step.data / f"{name}.jsonl").open(encoding="utf-8")]


@pytest.fixture()
def space(trained, monkeypatch):
    Path("pays.py").write_text(VOWELS)
    monkeypatch.syspath_prepend(str(trained.folder))
    trained.recipe({"sample": {**TINY, **PAYS}})
    return trained


def score(row: dict[str, Any], text: str) -> float:
    return float(sum(text.count(v) for v in "aeiou"))


def test_scores_are_those_of_the_written_texts_and_the_best_is_the_best(space):
    step = space.run("sample")
    samples, chats, pairs = (rows(step, name) for name in ("samples", "chats", "pairs"))
    assert len(samples) == 64
    groups: dict[str, list[Any]] = {}
    usable: dict[str, list[Any]] = {}
    for row in samples:
        text = row["completion"][0]["content"]
        assert row["score"] == row["scores"]["vowels"] == score(row, text)
        assert row["tokens"] <= 8 and row["number"] == len(groups.get(row["id"], []))
        groups.setdefault(row["id"], []).append(text)
        if row["left_out"] is None:
            usable.setdefault(row["id"], []).append((row["score"], text))
    assert [chat["id"] for chat in chats] == list(usable)
    for chat in chats:
        said = chat["messages"][-1]["content"]
        assert (chat["score"], said) in usable[chat["id"]]
        assert chat["score"] == max(one for one, _ in usable[chat["id"]])
    for pair in pairs:
        scores = sorted(one for one, _ in usable[pair["id"]])
        assert [pair["score_rejected"], pair["score_chosen"]] == [scores[0], scores[-1]]
        for side, which in (("chosen", -1), ("rejected", 0)):
            assert (scores[which], pair[side][0]["content"]) in usable[pair["id"]]
    paired = {pair["id"] for pair in pairs}
    assert paired == {i for i, g in usable.items() if len({one for one, _ in g}) > 1} and paired


def test_a_killed_run_goes_on_where_it_was_and_is_the_straight_one(space, monkeypatch):
    straight = [rows(space.run("sample"), name) for name in FILES]
    found = json.loads(space.step("sample").manifest.read_text())["metrics"]
    step = space.step("sample")
    shutil.rmtree(step.folder)
    answered, seen = sampled_answers._answered, []

    def counted(generator, batch, *rest):
        seen.append(len(batch))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return answered(generator, batch, *rest)

    monkeypatch.setattr(sampled_answers, "_answered", counted)
    with pytest.raises(KeyboardInterrupt):
        run_step(step)
    assert status(step).state == "interrupted"
    (file,) = step.checkpoints.rglob("answers.jsonl")
    assert len(file.read_text().splitlines()) == 3
    with file.open("a") as half:
        half.write('{"names": ["x"')  # a line that the kill cut
    run_step(step)
    assert sum(seen[4:]) == 10  # of 16 prompts
    assert [rows(step, name) for name in FILES] == straight
    now = json.loads(step.manifest.read_text())
    assert now["metrics"] == found and "answers to 6 prompts were there already" in now["notes"]
    assert not step.checkpoints.exists()


def test_a_control_token_that_an_answer_spells_is_text_and_a_real_one_leaves_it_out(
    space, monkeypatch
):
    def draw(self, prompts, most, sampling, streams):
        end = self.tokenizer.convert_tokens_to_ids(END)
        spelled = encode_text(self.tokenizer, f"a{END}e")
        said = [spelled, [*spelled, end, *encode_text(self.tokenizer, "oooo")]]
        assert end not in spelled
        return [self._finish([*said[i % 2], end], p) for i, p in enumerate(prompts)]

    monkeypatch.setattr(Generator, "draw", draw)
    step = space.run("sample", "sample.keep_unended=false")
    for row in rows(step, "samples"):
        assert row["left_out"] == ("control_tokens" if row["number"] % 2 else None)
        assert row["ended"] and row["score"] == score(row, row["completion"][0]["content"])
    said = {chat["messages"][-1]["content"] for chat in rows(step, "chats")}
    assert said == {f"a{END}e"} and len(rows(step, "chats")) == 16 and not rows(step, "pairs")


def test_answers_are_the_same_in_other_batches_and_beside_other_prompts(space):
    def texts(*overrides: str) -> dict[Any, str]:
        step = space.run("sample", *overrides)
        return {
            (r["id"], r["number"]): r["completion"][0]["content"] for r in rows(step, "samples")
        }

    first = texts()
    assert texts("sample.batch_size=3") == first
    more = texts("sample.num_generations=6")
    assert {key: more[key] for key in first} == first and len(more) == 96
    few = texts("sample.data.mixture=[{path: data/prompts.jsonl, where: {id: 'q1*'}}]")
    assert few == {key: first[key] for key in few} and len(few) == 28
    assert texts("sample.seed=1") != first


def test_sft_dpo_kto_and_reward_read_the_files(space):
    source = {"step": "sample", "file": "chats.jsonl"}
    data = {"seq_len": 64, "mixture": [{**source, "file": "pairs.jsonl"}]}
    trainer = {**TRAINER, "max_steps": 1}
    children = {
        "again": {"stage": "sft", "init": "sft", "data": {**data, "mixture": [source]}},
        "dpo": {"data": data},
        "kto": {"data": data},
        "reward": {"data": {"mixture": data["mixture"]}},
    }
    steps = {name: {**keys, "trainer": trainer} for name, keys in children.items()}
    space.recipe({"sample": {**TINY, **PAYS}, **steps})
    space.run("sample")
    for name in children:
        step = space.run(name)  # sample itself is done
        assert status(step).is_done
        kept = Ledger.from_json(json.loads(step.manifest.read_text())["ledger"]).total("kept")
        wrote = len(rows(space.step("sample"), "chats" if name == "again" else "pairs"))
        assert kept == wrote * (2 if name == "kto" else 1) > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"temperature": 0}, "temperature: must be above 0"),
        ({"top": 0}, "top: must be above 0"),
        ({"generate_dtype": "int8"}, "generate_dtype: 'int8'; use null, bfloat16 or float16"),
        ({"reward_weights": [1.0, 2.0]}, "reward_weights: 2 weights for 1 reward"),
        ({"judge_nats": 3.0}, "judge_nats: it acts on sample.judge, which is not set"),
        ({"reward_functions": None, "reward": None}, "reward"),
        ({"reward_functions": ["pays:nothing"]}, "pays has no function 'nothing'"),
        ({"data": {"mixture": [{"path": "data/chats.jsonl", "columns": {"messages": "x"}}]}}, "x"),
    ],
)
def test_a_mistake_is_one_line_before_the_run(space, changes, line):
    space.recipe({"sample": {**TINY, **PAYS, **changes}})
    with pytest.raises(RecipeError) as caught:
        preflight(space.load(), ["sample"], with_rows=True)
    assert any(line in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "pretrain"}, "sample.model: pretrain takes no chats"),
        ({"min_score": 99}, "16 of 16 prompts without a chat: below min_score 16"),
        (
            {"keep_unended": False, "max_completion_length": 1},
            "raise max_completion_length, or set keep_unended: true",
        ),
        ({"reward_functions": ["pays:none"]}, "no reward function scored any of 64"),
        ({"max_completion_length": 90}, "max_completion_length (90) are beyond the model's"),
    ],
)
def test_a_step_that_leaves_nothing_says_what_to_do(space, changes, line):
    with pytest.raises(ValueError) as caught:
        space.run("sample", *(f"sample.{k}={json.dumps(v)}" for k, v in changes.items()))
    assert line in str(caught.value)
