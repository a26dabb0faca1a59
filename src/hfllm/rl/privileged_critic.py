"""A critic that is told what a program knows of the score before the answer is whole.

A reward function may carry `so_far(beginning, **row) -> list[float]`: facts about the beginning
of an answer, the same number each time (rewards.py: which kinds of constraints are open, kept or
broken for good). The policy does not see them, the critic does (asymmetric actor-critic, Pinto et
al. 2017, arXiv:1710.06542): a ridge regression on the rollouts before foretells returns from them,
and the critic's model learns what is left. A baseline of what stands before a token leaves the
mean of the policy's gradient as it is and takes noise from it: tokens behind a broken constraint
are not blamed.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from hfllm.rl.advantages import Reduce
from hfllm.rl.logprobs import PassingTrainer

Batch = dict[str, Any]
SoFar = Callable[..., list[float]]
DECAY = 0.9  # of a rollout's weight with each that follows: the last ten count
RIDGE = 30.0  # tokens; the constant is free, so that few data foretell the mean
FILE = "informed.pt"


class RunningRegression:
    """Ridge regression of returns on facts, from sums over the rollouts before."""

    def __init__(self) -> None:
        """No data yet: everything is foretold as 0."""
        self._sums: torch.Tensor | None = None  # (K + 1, K + 2), float64: x x^T beside x y

    def foretell(self, facts: torch.Tensor) -> torch.Tensor:
        """Returns (B, T) of facts (B, T, K); zeros before the first update."""
        if self._sums is None:
            return facts.new_zeros(facts.shape[:-1])
        if len(self._sums) != facts.size(-1) + 1:
            raise ValueError(
                f"informed_critic: {len(self._sums) - 1} facts were learned of, {facts.size(-1)} "
                f"are given: a reward function changed since the checkpoint, remove its {FILE}"
            )
        gram, moment = self._sums[:, :-1], self._sums[:, -1]
        penalty = torch.full((len(gram),), RIDGE, dtype=torch.float64)
        penalty[0] = 1e-6
        weights = torch.linalg.solve(gram + penalty.diag(), moment)
        return _with_constant(facts) @ weights.to(facts)

    def update(
        self, facts: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, reduce: Reduce
    ) -> None:
        """Learn from a rollout: (B, T, K), (B, T), (B, T); `reduce` sums over processes."""
        written = mask > 0
        x, y = _with_constant(facts[written]), returns[written]
        sums = reduce(torch.cat([x.T @ x, (x.T @ y)[:, None]], dim=1)).double().cpu()
        self._sums = sums if self._sums is None else sums + DECAY * self._sums

    def state_dict(self) -> dict[str, torch.Tensor | None]:
        """The sums."""
        return {"sums": self._sums}

    def load_state_dict(self, state: dict[str, torch.Tensor | None]) -> None:
        """Take up the sums of a checkpoint."""
        self._sums = state["sums"]


def _with_constant(facts: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones_like(facts[..., :1]), facts], dim=-1)


def beginnings(tokenizer: Any, ids: Sequence[int]) -> Iterator[str]:
    """The text before each token, special tokens left out."""
    backend, text = getattr(tokenizer, "backend_tokenizer", None), ""
    if backend is None:  # each beginning anew, quadratic in the answer's length
        yield from (tokenizer.decode(ids[:n], skip_special_tokens=True) for n in range(len(ids)))
        return
    stream = DecodeStream(skip_special_tokens=True)
    for token in ids:
        yield text
        text += stream.step(backend, token) or ""  # None: a character is not whole yet


class _Known:
    """What one reward function knows of beginnings, checked."""

    def __init__(self, name: str, so_far: SoFar) -> None:
        self.name, self._so_far = name, so_far
        self._count: int | None = None  # K, from the first beginning on

    def of(self, texts: list[str], row: dict[str, Any]) -> torch.Tensor:
        """Facts (T, K) of the T beginnings of a row's answer.

        Raises:
            ValueError: their number differs from that of other beginnings, or one is no number.
        """
        facts = [self._so_far(text, **row) for text in texts]
        for text, some in zip(texts, facts, strict=True):
            if self._count is None:
                self._count = len(some)
            if len(some) != self._count or any(x is None or not isfinite(x) for x in some):
                raise ValueError(
                    f"so_far of the reward function {self.name} gives {some} of {text!r}: give "
                    f"{self._count} numbers each time, 0.0 where one is unknown"
                )
        return torch.tensor(facts, dtype=torch.float32)  # an answer has a token, so T > 0


class InformedTrainer(PassingTrainer):
    """PassingTrainer whose values rest on facts, where a reward function has any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Find the functions that know something before the end."""
        super().__init__(*args, **kwargs)
        told = (getattr(function, "so_far", None) for function in self.reward_funcs)
        named = zip(self.reward_func_names, told, strict=True)
        known = [_Known(name, so_far) for name, so_far in named if so_far]
        self._known: list[_Known] = known if self.args.informed_critic and not self.tools else []
        if self._known:
            names = ", ".join(one.name for one in known)
            self.notes.append(f"informed_critic: it is told what {names} knows before the end")
        elif known and self.args.informed_critic:
            self.notes.append("informed_critic: an answer with tools is no single text, it is off")
        self._facts: list[torch.Tensor] = []  # (T_i, K) of each answer of this process
        self._regression = RunningRegression()

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """GRPO's, after asking what is known of each beginning."""
        if self._known:
            pairs = zip(inputs, completion_ids_list, strict=True)
            self._facts = [self._facts_of(row, ids) for row, ids in pairs]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _facts_of(self, row: dict[str, Any], ids: list[int]) -> torch.Tensor:
        texts = list(beginnings(self._tokenizer, ids))
        return torch.cat([known.of(texts, row) for known in self._known], dim=1)

    def _add_logps_and_values(self, batch: Batch) -> None:
        """Add what the facts foretell to the values of a rollout, and keep it for its updates."""
        super()._add_logps_and_values(batch)
        if not self._known:
            return
        width, device = batch["values"].size(1), batch["values"].device
        padded = [torch.nn.functional.pad(f, (0, 0, 0, width - len(f))) for f in self._facts]
        batch["facts"] = torch.stack(padded).to(device)  # (B, T, K)
        batch["informed"] = self._regression.foretell(batch["facts"]) * batch["completion_mask"]
        batch["values"] = batch["values"] + batch["informed"]

    def _learn_facts(self, batch: Batch) -> None:
        """Let the regression learn the part of a rollout's returns that the critic left."""
        facts = batch.pop("facts", None)
        if facts is not None and self.model.training:
            self._check_same_count(facts)
            left = batch["returns"] - (batch["values"] - batch["informed"])
            self._regression.update(facts, left, batch["value_mask"], self._sum)

    def _check_same_count(self, facts: torch.Tensor) -> None:
        """Raise ValueError on all processes where some know another number of facts."""
        n = torch.tensor([1.0, facts.size(-1), facts.size(-1) ** 2], device=facts.device)
        processes, total, squares = self._sum(n).tolist()
        if processes * squares != total**2:
            names = ", ".join(one.name for one in self._known)
            raise ValueError(f"so_far of {names}: the processes get another number of facts each")

    def _update_values(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """The critic's new values on top of what the facts foretold."""
        return super()._update_values(model, inputs) + inputs.get("informed", 0.0)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Keep the regression's sums."""
        super()._save_checkpoint(model, trial)
        if self._known and self.args.should_save:
            torch.save(self._regression.state_dict(), self._checkpoint_folder(trial) / FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up the checkpoint's regression; without one it starts anew, and that is said."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not self._known:
            return
        file = Path(checkpoint) / FILE
        saved = torch.load(file, weights_only=True) if file.exists() else {}
        if "sums" in saved:
            self._regression.load_state_dict(saved)
        else:
            self.notes.append(f"informed_critic: nothing in {file}, it learns from its facts anew")
            if self.accelerator.is_main_process:
                print(self.notes[-1], flush=True)
