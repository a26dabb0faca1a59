"""Models that score the answers of the models under test.

A reward model (rewards), a reference model (KL divergence), a relevance judge (whether a reply
answers its prompt). Each is optional; they stay loaded for the whole evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.divergence import check_same_vocabulary, sampled_kl
from hfllm.evaluation.intervals import Interval, mean
from hfllm.evaluation.measure import KL
from hfllm.evaluation.model_under_test import ModelUnderTest, prompt_of
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.specs import ModelSpec, Result, ScorerSpecs, check_finite, result
from hfllm.inference.load import load_model
from hfllm.inference.relevance import RelevanceJudge, open_judge
from hfllm.inference.reward_model import RewardModel, open_reward_model

KL_PROMPTS = 128  # at most; answers are sampled for them


@dataclass
class Scorers:
    """The loaded scorers; None where none was named."""

    reward: RewardModel | None = None
    reference: tuple[ModelSpec, PreTrainedModel, PreTrainedTokenizerBase] | None = None
    relevance: RelevanceJudge | None = None
    best_of: tuple[int, ...] = ()

    def is_reference(self, spec: ModelSpec) -> bool:
        """Whether a model under test is the reference itself."""
        if self.reference is None:
            return False
        return Path(self.reference[0].folder).resolve() == Path(spec.folder).resolve()


def open_scorers(specs: ScorerSpecs, batch_size: int) -> Scorers:
    """Load the scorers; ValueError (one line) where a folder does not fit its role."""
    scorers = Scorers(best_of=specs.best_of)
    if specs.reward:
        scorers.reward = open_reward_model(specs.reward.folder, batch_size, specs.reward.name)
    if specs.reference:
        scorers.reference = (specs.reference, *load_model(specs.reference.folder))
    if specs.relevance:
        scorers.relevance = open_judge(specs.relevance.folder)
    return scorers


def add_rewards(samples: list[Sample], model: RewardModel | None) -> None:
    """Set `reward` of every sample; without a model nothing changes."""
    if model is None:
        return
    answered = []
    for sample in samples:
        asked = prompt_of(sample.row, chat=True)
        assert not isinstance(asked, str)
        answered.append(([*asked, {"role": "assistant", "content": sample.output}], sample.ended))
    scores = model.score(answered, model.name)
    check_finite(scores, model.name)
    for sample, score in zip(samples, scores, strict=True):
        sample.reward = score


def add_relevance(samples: list[Sample], judge: RelevanceJudge | None) -> None:
    """Set `relevance` (nats) of replies to open prompts; without a judge nothing changes.

    Samples with a reference answer need no judge, and in IFEval's prompts the constraints cannot be
    separated from the question: both are left out.
    """
    asked = [s for s in samples if s.answer is None and "instruction_id_list" not in s.row]
    if judge is None or not asked:
        return
    prompts: list[Any] = [prompt_of(sample.row, chat=True) for sample in asked]
    limits = [sample.row.get("constraints") for sample in asked]
    label = f"{asked[0].model}: {asked[0].task}: relevance"
    nats = judge.nats(prompts, [sample.output for sample in asked], limits, label)
    for sample, found in zip(asked, nats, strict=True):
        sample.relevance = found


def divergence(tested: ModelUnderTest, samples: list[Sample], scorers: Scorers) -> list[Result]:
    """Result of KL(model || reference) per answer, in nats; empty unless both are chat models.

    Args:
        tested: the model.
        samples: its answers; at most KL_PROMPTS of their prompts, evenly spaced, are used.
        scorers: with the reference model.

    Raises:
        ValueError: the two models have different tokenizers.
    """
    if scorers.reference is None or not (tested.spec.chat and scorers.reference[0].chat):
        return []
    spec, model, tokenizer = scorers.reference
    every = -(-len(samples) // KL_PROMPTS)
    chosen = samples[::every]
    if scorers.is_reference(tested.spec):
        return [result(tested.spec.name, ALL_ANSWERS, KL, Interval(0.0, 0.0, 0.0, len(chosen)))]
    check_same_vocabulary(tested.tokenizer, tokenizer, (tested.spec.name, spec.name))
    prompts = [prompt_of(sample.row, chat=True) for sample in chosen]
    longest = max(sample.max_new_tokens for sample in chosen)
    nats = sampled_kl(tested, model, prompts, longest)
    if not nats:
        print(f"{tested.spec.name}: no KL: every sampled answer is empty", flush=True)
        return []
    return [result(tested.spec.name, ALL_ANSWERS, KL, mean(nats))]
