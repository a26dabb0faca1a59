import copy
import math

import pytest
import torch
from evaluation_rows import answer_row

from hfllm.evaluation.calibration import reliability
from hfllm.evaluation.confidence import choice_confidence, encode_choices
from hfllm.evaluation.divergence import check_same_vocabulary, kl, sampled_kl
from hfllm.evaluation.model_under_test import prompt_of
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks.answers import answer_rows, summarize, summarize_all
from hfllm.evaluation.tasks.choices import as_options, choices
from hfllm.evaluation.tasks.likelihood import bits_per_byte, continuations, preference
from hfllm.fast_cpu import trained_head
from hfllm.inference.generate import Answer
from hfllm.inference.prompts import encode_prompt
from hfllm.inference.reward_model import open_reward_model
from hfllm.modeling.batching import ScoringRequest
from hfllm.tokenization.encode import encode_text


def by_metric(results):
    return {(row["task"], row["metric"]): row for row in results}


def total(model, context, text_ids):
    """Log-likelihood of text_ids after context, one row."""
    with torch.no_grad():
        logprobs = model(torch.tensor([context + text_ids])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(context) - 1 + k, i]) for k, i in enumerate(text_ids))


def test_bits_per_byte_in_total_and_per_source(tested):
    uniform = copy.deepcopy(tested.model)
    with torch.no_grad():
        uniform.lm_head.weight.zero_()
    tested.model = uniform
    rows = [
        {"id": "0", "source": "prose", "text": "Number 4 is a baker."},
        {"id": "1", "source": "prose", "text": ""},
        {"id": "2", "source": "lists", "text": "Caf\u00e9 1 2 3 4 5 6 7 8 9"},
    ]
    found = by_metric(bits_per_byte(tested, "heldout", TaskSpec("bits_per_byte", rows)))
    assert set(found) == {
        (t, "bits_per_byte") for t in ("heldout", "heldout/prose", "heldout/lists")
    }
    for task, chosen in (
        ("heldout", rows),
        ("heldout/prose", rows[:1]),
        ("heldout/lists", rows[2:]),
    ):
        tokens = sum(len(encode_text(tested.tokenizer, row["text"])) for row in chosen)
        size = sum(len(row["text"].encode()) for row in chosen)
        row = found[task, "bits_per_byte"]
        assert row["value"] == pytest.approx(math.log2(320) * tokens / size, rel=1e-5)
        assert row["low"] <= row["value"] * (1 + 1e-9) and row["value"] <= row["high"] * (1 + 1e-9)
    assert found["heldout", "bits_per_byte"]["n"] == 2, "an empty text is no document"


def test_choices_agree_with_a_naive_loop(tested):
    rows = [
        {
            "query": f"Question: Who is number {i}?",
            "choices": ["a baker", "cats", "x"],
            "gold": i % 3,
        }
        for i in range(9)
    ]
    found = by_metric(choices(tested, "quiz", TaskSpec("choices", rows))[0])
    plain = normed = 0
    for row in rows:
        context = encode_prompt(tested.tokenizer, row["query"] + "\nAnswer:")
        sums = [
            total(tested.model, context, encode_text(tested.tokenizer, " " + choice))
            for choice in row["choices"]
        ]
        rates = [s / len(choice) for s, choice in zip(sums, row["choices"], strict=True)]
        plain += sums.index(max(sums)) == row["gold"]
        normed += rates.index(max(rates)) == row["gold"]
    assert found["quiz", "acc"]["value"] == pytest.approx(plain / 9)
    assert found["quiz", "acc_norm"]["value"] == pytest.approx(normed / 9)
    assert found["quiz", "acc"]["n"] == 9


def test_minimal_pairs_are_compared_whole_and_per_field(tested):
    rows = [
        {"sentence_good": f"Who is {i}?", "sentence_bad": f"Who {i} is?", "field": field}
        for i, field in enumerate(("syntax", "syntax/semantics", "syntax_semantics"))
    ]
    found = by_metric(choices(tested, "blimp", TaskSpec("choices", rows))[0])
    n = {key: row["n"] for key, row in found.items()}
    assert n == {
        ("blimp", "acc"): 3, ("blimp/syntax", "acc"): 1, ("blimp/syntax_semantics", "acc"): 2
    }  # fmt: skip


def test_the_forms_of_choice_rows():
    blimp = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps."}
    assert as_options(blimp) == ([("", "Cats sleep."), ("", "Cats sleeps.")], 0)
    schema = {"context_options": ["A cat", "A dog"], "continuation": "meowed.", "gold": 0}
    assert as_options(schema) == ([("A cat", " meowed."), ("A dog", " meowed.")], 0)
    goal = {"query": "Question: dresser\n", "choices": ["a", "b"], "gold": 1}
    assert as_options(goal)[0][0] == ("Question: dresser\nAnswer:", " a")
    letters = {"query": "Q?\nA. x\nB. y\nAnswer:", "choices": ["A", "B"], "gold": 1}
    assert as_options(letters) == ([(letters["query"], " A"), (letters["query"], " B")], 1)
    with pytest.raises(ValueError, match="this one has question, gold"):
        as_options({"question": "?", "gold": 0})
    for broken in ({"query": "a", "choices": ["b"], "answerKey": 0}, {"sentence_good": "Cats."}):
        with pytest.raises(ValueError, match=r"row \?: a `choices` row has .*; this one has"):
            as_options(broken)
    with pytest.raises(ValueError, match="row 7: gold 2 is none of 2 choices"):
        as_options(goal | {"gold": 2, "id": "7"})


def test_choices_stand_beside_chance_and_calibration_and_tell_each_row(tested):
    rows = [
        {"id": f"q{i}", "query": f"Who is {i}?", "choices": [f"a {i}", "cats", "x"], "gold": 0}
        for i in range(6)
    ]
    results, items = choices(tested, "quiz", TaskSpec("choices", rows))
    found = by_metric(results)
    assert found["quiz", "acc"]["chance"] == found["quiz", "acc_norm"]["chance"] == 1 / 3
    assert "chance" not in found["quiz", "ece"] and found["quiz", "ece"]["n"] == 6
    for item, row in zip(items, rows, strict=True):
        chances = torch.tensor(item["logprobs"], dtype=torch.float64).softmax(0)
        assert item["id"] == row["id"] and item["right"] == (int(chances.argmax()) == 0)
        assert item["confidence"] == pytest.approx(float(chances.max()))
    bins = reliability([(item["confidence"], item["right"]) for item in items])
    assert sum(one["n"] for one in bins) == 6
    gap = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 6
    assert gap == pytest.approx(found["quiz", "ece"]["value"])


def test_a_continuation_is_said_or_not_and_has_a_perplexity(tested):
    start = encode_prompt(tested.tokenizer, "Number 4 is")
    ids = list(start)
    with torch.no_grad():
        for _ in range(3):  # what greedy decoding says
            ids.append(int(tested.model(torch.tensor([ids])).logits[0, -1].argmax()))
    said = tested.tokenizer.decode(ids[len(start) :])
    again = encode_prompt(tested.tokenizer, "Number 4 is" + said)
    rows = [
        {"context": "Number 4 is", "continuation": said},
        {"context": "Number 4 is", "continuation": "cats"},
    ]
    results, items = continuations(tested, "lambada", TaskSpec("continuation", rows))
    found = by_metric(results)
    assert [item["greedy"] for item in items] == [again == ids, False]
    cats = total(tested.model, start, encode_text(tested.tokenizer, " cats"))
    assert items[1]["logprob"] == pytest.approx(cats, rel=1e-5)
    mean = sum(item["logprob"] for item in items) / 2
    assert found["lambada", "perplexity"]["value"] == pytest.approx(math.exp(-mean))
    with pytest.raises(ValueError, match="row 3 of lambada: a `continuation` row has context and"):
        continuations(
            tested,
            "lambada",
            TaskSpec("continuation", [{"id": "3", "context": "a", "answer": "b"}]),
        )


def test_prompts_for_chat_and_base_models():
    row = answer_row(4)
    assert prompt_of(row, chat=True) == row["prompt"]
    assert prompt_of(row, chat=False) == row["plain"]
    assert prompt_of({"prompt": "Why?"}, chat=True) == [{"role": "user", "content": "Why?"}]
    assert prompt_of({"prompt": "Why?"}, chat=False) == "Question: Why?\nAnswer:"
    with pytest.raises(ValueError, match="row '7' has neither `prompt` nor `plain`"):
        prompt_of({"id": "7", "question": "Why?"}, chat=True)


def said(tested, texts, ended=True):
    """A generator that gives these texts."""

    def answer(prompts, *_, **__):
        encoded = [encode_prompt(tested.tokenizer, prompt) for prompt in prompts]
        ids = [encode_text(tested.tokenizer, text) + [6] for text in texts]
        return [
            Answer(text, len(i), ended, i, p)
            for text, i, p in zip(texts, ids, encoded, strict=True)
        ]

    tested.generator.answer = answer


def test_answers_are_marked_and_summed_up(tested):
    rows = [
        answer_row(0),
        answer_row(1),
        answer_row(2),
        answer_row(3, answerable=False, answer="I do not know.", choices=None, check="refusal"),
    ]
    said(tested, ["He is a baker.", "A weaver.", "I do not know him.", "I do not know him."])
    samples = answer_rows(tested, "mixed", TaskSpec("answers", rows))
    assert [s.correct for s in samples] == [True, False, False, True]
    assert [s.refused for s in samples] == [False, False, True, True]
    assert [s.confidence is None for s in samples] == [False, False, False, True]
    found = by_metric(summarize(samples))
    assert found["mixed", "accuracy"]["value"] == 0.5
    assert found["mixed", "refused_answerable"]["value"] == pytest.approx(1 / 3)
    assert found["mixed", "refused_unanswerable"]["value"] == 1.0
    assert found["mixed", "refusal_precision"]["value"] == 0.5
    assert found["mixed", "true_score"]["value"] == 0.5
    assert found["mixed", "ended"]["value"] == 1.0
    assert found["mixed", "ece"]["n"] == found["mixed", "choice_accuracy"]["n"] == 3
    seen, unseen = (found[f"mixed/{k}_in_chats", "accuracy"] for k in ("seen", "unseen"))
    assert seen["n"] + unseen["n"] == 4 and seen["value"] == unseen["value"] == 0.5
    line = samples[0].to_json()
    assert line["prompt"] == "Who is number 0?" and line["output"] == "He is a baker."
    assert "row" not in line
    assert by_metric(summarize_all(samples))["all_answers", "accuracy"]["n"] == 4


def test_confidence_is_measured_where_the_model_would_say_the_fact(tested, monkeypatch):
    """A model that says "He is" first and then a profession, each with a known likelihood."""
    texts = ["a baker", "a weaver", "a fisher"]
    row = answer_row(0, choices=texts)
    said(tested, ["He is a weaver."])
    answer = tested.generator.answer([row["prompt"]])[0]
    before = len(encode_text(tested.tokenizer, "He is"))
    inside = [ids for _, ids in encode_choices(tested, texts)]
    first = inside[0][0]
    assert all(ids[0] == first for ids in inside), "all begin with ' a'"

    class Knowing(torch.nn.Module):
        """Likely to say ' a' only after 'He is'; the rest as the tiny model has it."""

        def __init__(self, model):
            super().__init__()
            self.model, self.device = model, model.device
            self.get_output_embeddings = model.get_output_embeddings
            self.config = model.config

        def forward(self, input_ids, **_):
            out = self.model(input_ids)
            out.logits[:, len(answer.prompt_ids) + before - 1 :, first][:, :1] += 30
            return out

    tiny = tested.model
    tested.model = Knowing(tiny)
    monkeypatch.setattr(
        trained_head, "_has_plain_head", {tested.model: False}
    )  # its logits are its own
    confidence, right = choice_confidence(tested, [row], [answer])[0]
    context = answer.prompt_ids + answer.ids[:before]
    sums = torch.tensor([total(tiny, context + ids[:1], ids[1:]) for ids in inside])
    chances = sums.softmax(0)
    assert confidence == pytest.approx(float(chances.max()), rel=1e-4)
    assert right == (texts[int(chances.argmax())] == row["answer"])


def test_rewards_do_not_see_padding_and_see_truncation(folders):
    judge = open_reward_model(folders["reward"], batch_size=3)
    judged = [
        ([*answer_row(i)["prompt"], {"role": "assistant", "content": "cats " * i}], bool(i % 2))
        for i in range(1, 7)
    ]
    together = judge.score(judged)
    alone = [judge.score([one])[0] for one in judged]
    assert together == pytest.approx(alone, abs=1e-5)
    messages = judged[0][0]
    closed, cut = judge.encode(messages, True), judge.encode(messages, False)
    end = judge.tokenizer.convert_tokens_to_ids("<|end|>")
    assert closed == [*cut, end]


def test_preference_beside_the_length_rule(folders):
    judge = open_reward_model(folders["reward"], batch_size=4)

    def pair(chosen, rejected):
        said = ({"role": "assistant", "content": text} for text in (chosen, rejected))
        return dict(
            zip(("chosen", "rejected"), ([m] for m in said), strict=True),
            prompt=answer_row(1)["prompt"],
        )

    rows = [pair("Good.", "Good cats."), pair("A baker.", "He is a baker."), pair("cats", "c")]
    scores = {
        text: judge.score(
            [([*answer_row(1)["prompt"], {"role": "assistant", "content": text}], True)]
        )[0]
        for row in rows
        for text in (row["chosen"][0]["content"], row["rejected"][0]["content"])
    }
    wins = [scores[r["chosen"][0]["content"]] > scores[r["rejected"][0]["content"]] for r in rows]
    found = by_metric(preference(judge, "pairs", TaskSpec("preference", rows)))
    assert found["pairs", "accuracy"]["value"] == pytest.approx(sum(wins) / 3)
    assert found["pairs", "length_accuracy"]["value"] == pytest.approx(2 / 3)  # "shorter wins"
    assert found["pairs", "chosen_longer"]["value"] == pytest.approx(1 / 3)
    longer = [not wins[0], not wins[1], wins[2]]
    assert found["pairs", "picks_longer"]["value"] == pytest.approx(sum(longer) / 3)
    rows = [row | {"source": "heldout", "origin": "ab"[i % 2]} for i, row in enumerate(rows)]
    parts = by_metric(preference(judge, "pairs", TaskSpec("preference", rows)))
    assert parts["pairs", "accuracy"] == found["pairs", "accuracy"]
    assert parts["pairs/a", "accuracy"]["value"] == pytest.approx((wins[0] + wins[2]) / 2)
    assert parts["pairs/b", "accuracy"]["n"] == 1


def test_kl_is_zero_to_itself_and_the_mean_of_log_ratios_else(tested):
    reference = copy.deepcopy(tested.model)
    rows = [ScoringRequest(list(range(10, 30)), 12), ScoringRequest(list(range(40, 51)), 4)]
    assert kl(tested.model, reference, rows) == [0.0, 0.0]
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    prompts = [answer_row(1)["prompt"]] * 600
    tested.generator.batch_size = 600
    ours = torch.tensor(sampled_kl(tested, reference, prompts, 3))
    answers = tested.generator.answer(prompts, 3, temperature=1.0)
    ratios = torch.tensor(
        [
            total(tested.model, a.prompt_ids, a.ids) - total(reference, a.prompt_ids, a.ids)
            for a in answers
        ]
    )
    assert (ours > 0).all()
    error = 4 * (ratios.std() + ours.std()) / 600**0.5
    assert float(ours.mean()) == pytest.approx(float(ratios.mean()), abs=float(error))
    assert ours.std() < ratios.std()


def test_kl_over_other_tokens_is_refused(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["<|new|>"])
    with pytest.raises(ValueError, match="no KL between 'ppo' and 'sft': their tokenizers differ"):
        check_same_vocabulary(tokenizer, other, ("ppo", "sft"))
