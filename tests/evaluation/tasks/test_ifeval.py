"""The `ifeval` task: IFEval's own checkers, strict and loose."""

import pytest

from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import ifeval
from hfllm.inference.generate import Answer

pytest.importorskip("lm_eval")
pytest.importorskip("langdetect")

ROWS = [
    {"key": 1, "prompt": "Write without commas.", "instruction_id_list": ["punctuation:no_comma"],
     "kwargs": "[{}]"},
    {"key": 2, "prompt": "End it, and be brief.",
     "instruction_id_list": ["startend:end_checker", "length_constraints:number_words"],
     "kwargs": [{"end_phrase": "that is all"}, {"relation": "less than", "num_words": 5}]},
    {"key": 3, "prompt": "Two sentences.",
     "instruction_id_list": ["length_constraints:number_sentences"],
     "kwargs": '[{"relation": "less than", "num_sentences": 3}]'},
]  # fmt: skip


def said(tested, *texts):
    def answer(prompts, *_, **__):
        assert len(prompts) == len(texts)
        return [Answer(text, 3, True, [1], [1]) for text in texts]

    tested.generator.answer = answer


def test_prompts_and_instructions_strict_and_loose(tested, monkeypatch, capsys):
    monkeypatch.setattr(ifeval, "has_punkt", lambda: False)
    said(tested, "Sure, here:\nno comma\nBye, then", "Fine. That is all **")
    samples = ifeval.ask(tested, "ifeval", TaskSpec("ifeval", ROWS))
    assert "1 of 3 prompts left out: they need NLTK's data" in capsys.readouterr().out
    found = {(r["task"], r["metric"]): r for r in ifeval.summarize(samples)}
    assert [s.correct for s in samples] == [False, False]
    assert found["ifeval", "accuracy"]["value"] == 0.0 and found["ifeval", "accuracy"]["n"] == 2
    assert found["ifeval", "accuracy_loose"]["value"] == 1.0
    assert found["ifeval", "instruction_accuracy"]["value"] == pytest.approx(1 / 3)
    assert found["ifeval", "instruction_accuracy_loose"]["n"] == 3


def test_rows_that_are_none_are_told(tested, monkeypatch):
    monkeypatch.setattr(ifeval, "has_punkt", lambda: False)
    with pytest.raises(ValueError, match="row 7 of t: an `ifeval` row has key, prompt"):
        ifeval.ask(tested, "t", TaskSpec("ifeval", [{"id": "7", "prompt": "a"}]))
    for change, message in (
        ({"kwargs": "null"}, r"row \? of t: `kwargs` is a list with a mapping for each of 1"),
        ({"kwargs": [{}, {}]}, "`kwargs` is a list with a mapping"),
        ({"instruction_id_list": ["rhyme:couplet"]}, "no checker for 'rhyme:couplet'"),
    ):
        with pytest.raises(ValueError, match=message):
            ifeval.ask(tested, "t", TaskSpec("ifeval", [ROWS[0] | change]))
    with pytest.raises(ValueError, match="more than half, cannot be checked without NLTK"):
        ifeval.ask(tested, "t", TaskSpec("ifeval", ROWS[2:]))
