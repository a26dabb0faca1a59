"""Token rewards, GAE, whitening and the clipped value loss against handmade numbers."""

import threading

import pytest
import torch

from hfllm.rl.advantages import (
    explained_variance,
    final_score,
    gae,
    has_ended,
    token_rewards,
    value_errors,
    whiten,
)


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def slow_gae(rewards, values, mask, gamma, lam):
    """The definition, row by row over written tokens: a sum of discounted TD errors."""
    advantages = torch.zeros_like(rewards)
    for row in range(len(rewards)):
        at = [t for t in range(rewards.size(1)) if mask[row, t]]
        for i, t in enumerate(at):
            total = 0.0
            for k in range(i, len(at)):
                following = values[row, at[k + 1]] if k + 1 < len(at) else 0.0
                delta = rewards[row, at[k]] + gamma * following - values[row, at[k]]
                total += (gamma * lam) ** (k - i) * delta
            advantages[row, t] = total
    return advantages


def ragged(rows=5, width=9, holes=False):
    torch.manual_seed(0)
    lengths = torch.randint(1, width + 1, (rows,))
    mask = (torch.arange(width)[None] < lengths[:, None]).double()
    if holes:  # what a tool wrote lies inside the row
        mask[:, 2:4] = 0
        mask[:, 0] = 1
    noise = torch.randn(2, rows, width, dtype=torch.double)
    return noise[0] * mask, noise[1], mask


@pytest.mark.parametrize("gamma,lam", [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0), (0.99, 1.0)])
@pytest.mark.parametrize("holes", [False, True])
def test_gae_equals_its_definition(gamma, lam, holes):
    rewards, values, mask = ragged(holes=holes)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    torch.testing.assert_close(advantages, slow_gae(rewards, values, mask, gamma, lam))
    torch.testing.assert_close(returns, (advantages + values) * mask)


def test_gae_by_hand():
    rewards = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    values = torch.tensor([[0.5, 0.25, 0.75, 9.0]])  # 9.0 lies on padding
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    advantages, returns = gae(rewards, values, mask, gamma=1.0, lam=0.5)
    # deltas: 1 - 0.75 = 0.25; 0.75 - 0.25 = 0.5; 0.25 - 0.5 = -0.25
    # advantages: 0.25; 0.5 + 0.125 = 0.625; -0.25 + 0.3125 = 0.0625
    torch.testing.assert_close(advantages, torch.tensor([[0.0625, 0.625, 0.25, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[0.5625, 0.875, 1.0, 0.0]]))


def test_lambda_one_gives_monte_carlo_returns():
    rewards, values, mask = ragged()
    _, returns = gae(rewards, values, mask, gamma=1.0, lam=1.0)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns, to_go * mask)


def test_token_rewards_put_the_score_on_the_last_written_token():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    kl = torch.tensor([[1.0, 2.0, 7.0], [0.0, -1.0, 1.0], [5.0, 5.0, 5.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0, 30.0]), mask, kl, beta=0.1)
    expected = torch.tensor([[-0.1, 9.8, 0.0], [0.0, 0.1, 19.9], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)
    plain = token_rewards(torch.tensor([10.0, 20.0, 30.0]), mask)
    assert plain.sum() == 30 and plain[0, 1] == 10 and plain[1, 2] == 20


def test_only_the_last_written_token_counts_as_an_end():
    ids = torch.tensor([[5, 6, 0], [6, 5, 5], [5, 2, 0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    ended = has_ended(ids, mask, eos_token_ids=[6, 2])
    assert ended.tolist() == [1.0, 0.0, 1.0]
    assert final_score(torch.tensor([9.0, 9.0, -9.0]), ended, 2.0, 1.0).tolist() == [2, 1, -2]
    assert final_score(torch.tensor([9.0, 9.0, -9.0]), ended, None, None).tolist() == [9, 9, -9]


def test_whiten_gives_mean_zero_and_variance_one_on_the_mask():
    x, _, mask = ragged()
    y = whiten(3 * x + 100 * mask, mask)
    assert masked_mean(y, mask).abs() < 1e-6
    assert (masked_mean(y**2, mask) - 1).abs() < 1e-6
    assert (y[mask == 0] == 0).all()
    z = whiten(3 * x + 100 * mask, mask, shift=False)
    torch.testing.assert_close(z - masked_mean(z, mask) * mask, y)
    assert (z[mask > 0] > 0).all()


def test_whiten_over_two_processes_equals_whiten_over_all():
    x, _, mask = ragged(rows=6)
    barrier, posted, results = threading.Barrier(2), [None, None], [None, None]

    def process(rank):
        def reduce(sums):
            posted[rank] = sums
            barrier.wait()
            total = posted[0] + posted[1]
            barrier.wait()
            return total

        rows = slice(0, 2) if rank == 0 else slice(2, 6)
        results[rank] = whiten(x[rows], mask[rows], reduce)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in (0, 1)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    torch.testing.assert_close(torch.cat(results), whiten(x, mask))


def test_explained_variance_of_perfect_constant_and_wrong_critics():
    _, returns, mask = ragged()
    assert abs(explained_variance(returns, returns, mask) - 1) < 1e-6
    assert abs(explained_variance(torch.ones_like(returns), returns, mask)) < 1e-6
    assert abs(explained_variance(-returns, returns, mask) + 3) < 1e-6
    assert explained_variance(torch.zeros_like(returns), 0 * returns, mask).isnan()


def test_value_errors_clip_where_the_value_left_its_range_and_nowhere_else():
    old = torch.rand(100, 100)
    target = torch.rand(100, 100)
    errors, clipped = value_errors(old + 1e-3 * torch.randn(100, 100), old, target, 0.2)
    assert not clipped.any()  # rounding makes one of two equal errors larger
    values = torch.tensor([1.5, 1.5, 1.1, 0.5])
    errors, clipped = value_errors(values, torch.ones(4), torch.tensor([2.0, 0.0, 2.0, 0.0]), 0.2)
    assert clipped.tolist() == [True, False, False, True]
    expected = torch.tensor([0.8**2, 1.5**2, 0.9**2, 0.8**2]) / 2
    torch.testing.assert_close(errors, expected)
