"""Token rewards, GAE and whitening: the arithmetic of PPO between a rollout and its updates.

score (B,) and KL (B, T) -> token rewards (B, T) -> with the critic's values, advantages and
returns (B, T) -> whitened advantages. Pure torch, a few milliseconds per rollout. `mask` is 1 on
the tokens that the policy wrote (0 on padding and on what a tool wrote).
"""

from collections.abc import Callable

import torch

Reduce = Callable[[torch.Tensor], torch.Tensor]  # sums a tensor over processes


def single_process(sums: torch.Tensor) -> torch.Tensor:
    """The `Reduce` of a single process: returns its argument."""
    return sums


def last_token(mask: torch.Tensor) -> torch.Tensor:
    """Index (B,) of each row's last 1 in `mask` (B, T); 0 for a row without any."""
    return (mask.cumsum(dim=1) * mask).argmax(dim=1)


def has_ended(ids: torch.Tensor, mask: torch.Tensor, eos_token_ids: list[int]) -> torch.Tensor:
    """1.0 for answers whose last written token ends a turn, 0.0 for truncated ones.

    The last token and not any token: with tools, earlier turns of a truncated answer end too.

    Args:
        ids: token ids of the answers, (B, T).
        mask: (B, T), 1 on written tokens.
        eos_token_ids: ids that end a turn.

    Returns:
        (B,), float.
    """
    last = ids.gather(1, last_token(mask)[:, None])[:, 0]
    return torch.isin(last, torch.tensor(eos_token_ids, device=ids.device)).float()


def final_score(
    score: torch.Tensor, ended: torch.Tensor, clip: float | None, penalty: float | None
) -> torch.Tensor:
    """Clip the score and subtract the penalty for an answer that has not ended.

    Args:
        score: (B,).
        ended: (B,), of `has_ended`.
        clip: limits the score to [-clip, clip]; None: no limit.
        penalty: subtracted after clipping; None: 0.
    """
    if clip is not None:
        score = score.clamp(-clip, clip)
    return score - (penalty or 0.0) * (1.0 - ended)


def token_rewards(
    score: torch.Tensor, mask: torch.Tensor, kl: torch.Tensor | None = None, beta: float = 0.0
) -> torch.Tensor:
    """Rewards (B, T): `score` (B,) at the last written token, minus `beta * kl` at every token.

    `mask` (B, T) is 1 on written tokens. `kl` (B, T), in nats, is the single-sample estimate
    log pi(token) - log ref(token) of InstructGPT (Ouyang et al. 2022, arXiv:2203.02155, section
    3.5).
    """
    rewards = torch.zeros_like(mask) if kl is None else -beta * kl * mask  # (B, T)
    rows = torch.arange(len(rewards), device=rewards.device)
    end = last_token(mask)
    rewards[rows, end] += score * mask[rows, end]
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).

    Tokens with mask 0 inside a row (a tool's output) are no actions: they have the value of the
    next action, undiscounted. An episode ends with the row's last written token.

    Args:
        rewards: (B, T), zero where the mask is.
        values: V(state before token t), (B, T).
        mask: (B, T), float.
        gamma: discount per token.
        lam: 0 is one-step TD, 1 is Monte Carlo.

    Returns:
        advantages (B, T) and returns = advantages + values (B, T), both 0 where the mask is.
    """
    advantages = torch.zeros_like(rewards)
    next_value = torch.zeros_like(rewards[:, 0])  # (B,)
    running = torch.zeros_like(next_value)
    for t in reversed(range(rewards.size(1))):
        action = mask[:, t] > 0
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(action, delta + gamma * lam * running, running)
        next_value = torch.where(action, values[:, t], next_value)
        advantages[:, t] = running * mask[:, t]
    return advantages, (advantages + values) * mask


def value_errors(
    values: torch.Tensor, old: torch.Tensor, target: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the larger of plain and clipped squared error of new values, and where that clips.

    Args:
        values: (B, T), of the critic that is trained.
        old: (B, T), of the rollout.
        target: (B, T), the returns.
        clip: range of a new value around the old one.

    Returns:
        errors (B, T), and bool (B, T): the value is beyond the range, and clipping takes its
        gradient. (Within it both errors are the same but for rounding.)
    """
    unclipped = (values - target) ** 2
    clipped = (old + (values - old).clamp(-clip, clip) - target) ** 2
    beyond = ((values - old).abs() > clip) & (clipped > unclipped)
    return 0.5 * torch.max(unclipped, clipped), beyond


def _moments(
    x: torch.Tensor, mask: torch.Tensor, reduce: Reduce
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the masked tokens of all processes."""
    total, count = reduce(torch.stack([(x * mask).sum(), mask.sum()]))
    mean = total / count.clamp(min=1)
    # A second pass: the mean of squares minus the squared mean cancels badly in float32.
    return mean, reduce((((x - mean) ** 2) * mask).sum()) / count.clamp(min=1)


def whiten(
    x: torch.Tensor,
    mask: torch.Tensor,
    reduce: Reduce = single_process,
    shift: bool = True,
) -> torch.Tensor:
    """`x` with variance 1 (and mean 0 if `shift`) over the masked tokens of all processes.

    Args:
        x: (B, T).
        mask: (B, T), float.
        reduce: sums a tensor over processes; by default of a single one.
        shift: False keeps the mean (for rewards, whose sign has a meaning).
    """
    mean, variance = _moments(x, mask, reduce)
    return (x - mean if shift else x) * torch.rsqrt(variance + 1e-8) * mask


def explained_variance(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, reduce: Reduce = single_process
) -> torch.Tensor:
    """1 - Var(returns - values) / Var(returns): 1 for a perfect critic, 0 for a constant one.

    Values, returns and mask are (B, T); the variances are over the masked tokens of all processes
    (`reduce`). NaN if all returns are equal.
    """
    _, unexplained = _moments(returns - values, mask, reduce)
    _, variance = _moments(returns, mask, reduce)
    return torch.where(variance > 1e-8, 1 - unexplained / variance, torch.nan)
