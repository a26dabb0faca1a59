"""Relevance: log p(answer | all) - log p(answer | constraints), each token once, no circles."""

import pytest
import torch

from hfllm.inference.relevance import (
    ENOUGH,
    RelevanceJudge,
    is_relevant,
    open_judge,
    repeated_share,
)
from hfllm.tokenization.render import render

LIMIT = [{"kind": "no_comma", "text": "No comma."}]
ASKED = [{"role": "user", "content": "Who is number 7? No comma."}]
ALONE = [{"role": "user", "content": "No comma."}]


@torch.no_grad()
def logprobs(model, tokenizer, prompt, ids):
    """One row at a time, no batching, no padding."""
    before = render(tokenizer, prompt, add_generation_prompt=True).input_ids
    logits = model(torch.tensor([before + ids])).logits[0, len(before) - 1 : -1]
    return logits.float().log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)]


def test_it_is_the_gain_in_log_probability_and_a_repeated_token_counts_once(model, tokenizer):
    judge = RelevanceJudge(model, tokenizer)
    circles = "a a a a a a a a"
    answers = ["Number 7 is a baker.", " a a a a", "", "  ", "a baker", circles]
    found = judge.nats([ASKED] * 6, answers, [LIMIT] * 6)
    for answer, nats in zip(answers, found, strict=True):
        ids = tokenizer(answer.strip(), add_special_tokens=False).input_ids
        if not ids:
            assert nats == 0.0
            continue
        gain = logprobs(model, tokenizer, ASKED, ids) - logprobs(model, tokenizer, ALONE, ids)
        first = [n for n, token in enumerate(ids) if ids.index(token) == n]
        new = 0.25 if answer == circles else 1.0  # "a" and 7 " a": the last 6 go in circles
        assert nats == pytest.approx(new * float(gain[first].sum()), abs=1e-4)
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    ("ids", "share"),
    [
        ([], 0),
        ([1, 2, 3], 0),
        ([1, 2, 3, 4, 1, 2, 3], 0),  # three tokens again, not four
        ([1, 1, 1, 1], 0),
        ([1, 1, 1, 1, 1], 0.8),  # the second run begins one later
        ([1, 2, 3, 4, 5, 1, 2, 3, 4, 6], 0.4),
        ([9, *[1, 2, 3, 4] * 3, 8], 8 / 14),
    ],
)
def test_what_was_said_before_goes_in_circles(ids, share):
    assert repeated_share(ids) == pytest.approx(share)


def test_a_prompt_that_is_all_constraints_makes_nothing_relevant(model, tokenizer):
    judge = RelevanceJudge(model, tokenizer)
    assert judge.nats([ALONE], ["Number 7."], [LIMIT]) == pytest.approx([0.0], abs=1e-5)
    with_none = judge.nats([ASKED], ["Number 7."], [None])
    assert with_none == judge.nats([ASKED], ["Number 7."], [[]])


def test_shares_rise_from_half_of_enough_to_enough(model, tokenizer):
    judge = RelevanceJudge(model, tokenizer, enough=8.0)
    assert judge.shares([-3.0, 4.0, 5.0, 6.0, 8.0, 99.0]) == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    watching = RelevanceJudge(model, tokenizer, enough=0.0)
    assert watching.shares([-3.0, 0.0, 99.0]) == [1.0, 1.0, 1.0]
    assert [is_relevant(n) for n in (None, 0.0, ENOUGH)] == [False, False, True]


def test_a_model_without_a_template_judges_nothing(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="takes no chats.*: the judge of answers is a chat"):
        open_judge(tmp_path)


def test_a_constraint_without_its_words_is_told(model, tokenizer):
    judge = RelevanceJudge(model, tokenizer)
    with pytest.raises(ValueError, match="a constraint without its `text`"):
        judge.nats([ASKED], ["Number 7."], [[{"kind": "no_comma"}]])
