"""evaluate_models and evaluate_folder: files, results, differences, mistakes in the request."""

import json

import pytest
from evaluation_rows import answer_row

from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.folder import evaluate_folder, read_tasks
from hfllm.evaluation.run import (
    ASKED,
    REWARD_MODEL_SCORED,
    SCORED,
    differences,
    evaluate_models,
)
from hfllm.evaluation.specs import ModelSpec, ScorerSpecs, TaskSpec
from hfllm.evaluation.table import format_table

KEYS = {"model", "task", "metric", "value", "low", "high", "n"}


@pytest.fixture(scope="module")
def evaluated(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate")
    specs = [
        ModelSpec(name, folders[name], name != "pretrain") for name in ("pretrain", "sft", "ppo")
    ]
    refusals = {
        "answerable": False,
        "check": "refusal",
        "choices": None,
        "facts_seen_in_chats": None,
    }
    said = [{"role": "assistant", "content": text} for text in ("A baker.", "No.")]
    pair = {"prompt": answer_row(0)["prompt"], "chosen": said[:1], "rejected": said[1:]}
    tasks = {
        "heldout": TaskSpec("bits_per_byte", [{"text": "Number 4 is a baker."}] * 3),
        "known_facts": TaskSpec("answers", [answer_row(i) for i in range(10)], 7, 8),
        "unknown_people": TaskSpec(
            "answers", [answer_row(i, **refusals) for i in range(5)], None, 6
        ),
        "quiz": TaskSpec("choices", [{"query": "A?", "choices": ["x", "y"], "gold": 0}]),
        "last_word": TaskSpec("continuation", [{"context": "A", "continuation": "x"}]),
        "pairs": TaskSpec("preference", [pair]),
    }
    results = evaluate_models(
        specs,
        tasks,
        out,
        ScorerSpecs(reward=ModelSpec("reward", folders["reward"]), reference=specs[1]),
        batch_size=4,
    )
    return out, results


def test_results_have_the_agreed_shape_and_contain_their_value(evaluated):
    out, results = evaluated
    written = json.loads((out / "results.json").read_text())
    assert written["results"] == results
    for row in results:
        assert set(row) - {"chance"} == KEYS
        assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9, row
    assert len({(r["model"], r["task"], r["metric"]) for r in results}) == len(results)


def test_rows_are_conserved(evaluated):
    _, results = evaluated
    n = {(r["model"], r["task"], r["metric"]): r["n"] for r in results}
    for model in ("pretrain", "sft", "ppo"):
        assert n[model, "known_facts", "accuracy"] == n[model, "known_facts", "reward"] == 7
        assert n[model, "unknown_people", "refused_unanswerable"] == 5
        assert n[model, "all_answers", "true_score"] == n[model, "all_answers", "reward"] == 12
        split = [n[model, f"known_facts/{k}_in_chats", "accuracy"] for k in ("seen", "unseen")]
        assert split == [4, 3]
        assert (model, "unknown_people/seen_in_chats", "accuracy") not in n
        assert n[model, "heldout", "bits_per_byte"] == 3
    assert n["reward", "pairs", "accuracy"] == 1
    assert n["ppo", "all_answers", "kl"] == 12


def test_kl_is_zero_for_the_reference_and_left_out_for_base_models(evaluated):
    values = {r["model"]: r["value"] for r in evaluated[1] if r["metric"] == "kl"}
    assert set(values) == {"sft", "ppo"}
    assert values["sft"] == 0.0 < values["ppo"]


def test_samples_hold_every_answer(evaluated):
    out, results = evaluated
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 3 * 12
    agreed = {
        *("task", "id", "prompt", "answer", "model", "output", "correct", "ended", "reward"),
        "true_score",
    }
    assert all(agreed <= set(sample) for sample in samples)
    base = next(s for s in samples if s["model"] == "pretrain")
    chat = next(s for s in samples if s["model"] == "sft")
    assert base["prompt"] == "Question: Who is number 0?\nAnswer:"
    assert chat["prompt"] == "Who is number 0?"
    assert "\n" not in base["output"]
    rewards = [s["reward"] for s in samples if s["model"] == "ppo"]
    mean = next(
        r["value"]
        for r in results
        if (r["model"], r["task"], r["metric"]) == ("ppo", "all_answers", "reward")
    )
    assert mean == pytest.approx(sum(rewards) / len(rewards))


def test_differences_are_paired_over_the_same_rows(evaluated):
    out, results = evaluated
    gaps = json.loads((out / "results.json").read_text())["differences"]
    assert {(g["baseline"], g["model"]) for g in gaps} == {("pretrain", "sft"), ("sft", "ppo")}
    value = {(r["model"], r["task"], r["metric"]): r["value"] for r in results}
    for gap in gaps:
        expected = (
            value[gap["model"], gap["task"], gap["metric"]]
            - value[gap["baseline"], gap["task"], gap["metric"]]
        )
        assert gap["value"] == pytest.approx(expected, abs=1e-9)
    asked = {"known_facts", "unknown_people", "all_answers"}
    assert {g["task"] for g in gaps} == asked | {"last_word", "quiz"}  # these by likelihood
    assert differences([], ["a", "b"]) == []


def test_the_settings_say_how_the_scores_came_about(evaluated):
    settings = json.loads((evaluated[0] / "results.json").read_text())["settings"]
    by_name = {row["model"]: row for row in settings}
    assert by_name["sft"]["prompts"] == "chat template"
    assert by_name["sft"]["stop_tokens"] == ["<|eos|>", "<|end|>"]
    assert by_name["pretrain"]["prompts"] == "plain text"
    assert by_name["pretrain"]["stop_at_newline"] and not by_name["sft"]["stop_at_newline"]
    assert by_name["sft"]["chat_template_sha256"] == by_name["ppo"]["chat_template_sha256"]


def test_the_table_has_a_cell_for_every_result(evaluated):
    _, results = evaluated
    table = format_table(results, ["pretrain", "sft", "ppo"])
    lines = table.splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header == ["task", "metric", "pretrain", "sft", "ppo", "reward", "chance", "n"]
    quiz = next(line for line in lines if "| quiz " in line and "| acc " in line)
    assert quiz.split("|")[-3].strip() == "0.500"
    assert len({len(line) for line in lines}) == 1
    assert table.count("[") == len(results)
    assert sum("| kl " in line for line in lines) == 1


def test_every_kind_of_task_has_its_module():
    tables = [*SCORED, *ASKED, *REWARD_MODEL_SCORED]
    assert sorted(tables) == sorted(TASK_KINDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "kind 'guess' is none of bits_per_byte, answers, replies, preference"),
        ({"rows": []}, "task 'quiz' has no rows"),
        ({"limit": 0}, "task 'quiz' has no rows"),
        ({"kind": "preference"}, "name it under evaluate.reward"),
    ],
)
def test_mistakes_are_found_before_a_model_is_opened(tmp_path, change, message):
    task = {"kind": "choices", "rows": [{"query": "A?", "choices": ["x"], "gold": 0}], **change}
    models = [ModelSpec("a", tmp_path / "nowhere")]
    with pytest.raises(ValueError, match=message):
        evaluate_models(models, {"quiz": TaskSpec(**task)}, tmp_path)
    with pytest.raises(ValueError, match="two models are called 'a'"):
        evaluate_models(models * 2, {"quiz": TaskSpec("choices", [{}])}, tmp_path)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_models(models, {}, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("arc", "arc/easy"), "task arc/easy: is also the name of a subset of 'arc'"),
        (("all_answers",), "task all_answers: is the name of the means over all tasks"),
    ],
)
def test_names_that_the_results_use_otherwise_are_refused(tmp_path, names, message):
    """One value would replace the other in the table."""
    tasks = {name: TaskSpec("choices", [{}]) for name in names}
    with pytest.raises(ValueError, match=message):
        evaluate_models([ModelSpec("a", tmp_path)], tasks, tmp_path)


def test_two_files_of_one_name_are_not_one_test(tmp_path):
    row = json.dumps({"prompt": "Who?", "answer": "Ada"}) + "\n"
    files = [tmp_path / folder / "quiz.jsonl" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(row)
    with pytest.raises(ValueError, match="b/quiz.jsonl: two files are called 'quiz'; rename one"):
        read_tasks(files)
    files[1].write_text(json.dumps({"prompt": "Who?", "answer": "Ada", "task": "facts"}) + "\n")
    assert set(read_tasks(files)) == {"quiz", "facts"}


def test_a_lone_folder_on_files(folders, tmp_path):
    tests, text = tmp_path / "tests.jsonl", tmp_path / "prose.txt"
    rows = [answer_row(i) for i in range(4)]
    rows += [{"id": "q", "task": "quiz", "query": "A?", "choices": ["x", "y"], "gold": 1}]
    tests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text.write_text("Number 4 is a baker.")
    out = tmp_path / "out"
    table = evaluate_folder(folders["sft"], [tests], [text], limit=3, out=out)
    assert table.splitlines()[0].split("|")[3].strip() == "sft"
    found = json.loads((out / "results.json").read_text())["results"]
    n = {(r["task"], r["metric"]): r["n"] for r in found}
    assert n["known_facts", "accuracy"] == 3
    assert n["quiz", "acc"] == n["prose", "bits_per_byte"] == 1
    with pytest.raises(ValueError, match="give --tests FILE.jsonl"):
        evaluate_folder(folders["sft"])
    tests.write_text('{"question": "Why?"}\n')
    with pytest.raises(ValueError, match="jsonl:1: its columns question are those of no test"):
        evaluate_folder(folders["sft"], [tests])
