"""Rewards of answers, and the KL divergence from a reference model."""

import copy

import pytest
import torch
from evaluation_rows import answer_row, total

from hfllm.evaluation.divergence import check_same_vocabulary, kl, sampled_kl
from hfllm.inference.reward_model import open_reward_model
from hfllm.modeling.batching import ScoringRequest


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
    given = tested.generator.answer(prompts, 3, temperature=1.0)
    ratios = torch.tensor(
        [
            total(tested.model, a.prompt_ids, a.ids) - total(reference, a.prompt_ids, a.ids)
            for a in given
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
