"""Judges of answers: a reward model's score, and the divergence from a reference model.

Reward: the conversation is rendered with the reward model's own tokenizer. An answer that was cut
off is rendered without its end of turn, so that the judge sees what the user would see; TRL's
trainers close every answer, which hides truncation from the reward.

KL(model || reference) per answer, in nats: answers are sampled from the model at temperature 1
(greedy answers would bias it), and at each of their tokens the divergence of the two next-token
distributions is summed. This has the mean of the usual sum of log p - log r, with less noise, and
is never negative (Amini et al. 2025, Better Estimation of the KL Divergence Between Language
Models, arXiv:2504.10637).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.data.chat import render
from hfllm.evaluation.loglik import Scored, batches, forward
from hfllm.evaluation.specs import ModelSpec
from hfllm.evaluation.subject import Subject
from hfllm.inference.load import load_reward
from hfllm.inference.progress import track
from hfllm.inference.prompts import Message, Prompt, encode_prompt, positions
from hfllm.tokenization.encode import encode_text

Judged = tuple[list[Message], bool]  # a conversation that ends with the answer; whether it ended


@dataclass
class Judge:
    """A reward model, opened."""

    spec: ModelSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 32

    def encode(self, messages: list[Message], ended: bool) -> list[int]:
        """Token ids of a judged conversation, its last answer open where it was cut off.

        What exceeds the model's positions is cut on the left.
        """
        if ended:
            ids = render(self.tokenizer, messages).input_ids
        else:
            asked = encode_prompt(self.tokenizer, messages[:-1])
            ids = asked + encode_text(self.tokenizer, messages[-1]["content"])
        return ids[-positions(self.model) :]

    @torch.inference_mode()
    def score(self, judged: Sequence[Judged], label: str = "reward") -> list[float]:
        """Scores in the order given."""
        rows = [self.encode(messages, ended) for messages, ended in judged]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
        scores = [0.0] * len(rows)
        with track(len(rows), label, "answers") as done:
            for begin in range(0, len(order), self.batch_size):
                chosen = order[begin : begin + self.batch_size]
                batch = self.tokenizer.pad(
                    {"input_ids": [rows[i] for i in chosen]},
                    padding_side="right",
                    return_tensors="pt",
                ).to(self.model.device)
                logits = self.model(
                    batch["input_ids"], attention_mask=batch["attention_mask"]
                ).logits  # (B, 1)
                for i, value in zip(chosen, logits[:, 0].float().tolist(), strict=True):
                    scores[i] = value
                done(len(chosen))
        return scores


def open_judge(spec: ModelSpec, batch_size: int) -> Judge:
    """Load a reward model folder; ValueError in one line where it is none."""
    model, tokenizer = load_reward(spec.folder)
    if not tokenizer.chat_template:
        raise ValueError(f"{spec.folder}: the reward model's tokenizer has no chat template")
    return Judge(spec, model, tokenizer, batch_size)


def check_same_vocabulary(
    ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, names: tuple[str, str]
) -> None:
    """Raise ValueError where two models' next-token distributions are over different tokens."""
    if ours.get_vocab() != theirs.get_vocab():
        raise ValueError(
            f"no KL between {names[0]!r} and {names[1]!r}: their tokenizers differ; "
            "set another `reference` or none"
        )


def sampled_kl(
    subject: Subject, reference: PreTrainedModel, prompts: list[Prompt], max_new_tokens: int
) -> list[float]:
    """KL(model || reference) in nats of one sampled answer per prompt; the mean estimates it."""
    label = f"{subject.spec.name}: KL"
    answers = subject.generator.answer(prompts, max_new_tokens, temperature=1.0, label=label)
    rows = [Scored(a.prompt_ids + a.ids, len(a.prompt_ids)) for a in answers if a.ids]
    return kl(subject.model, reference, rows)


@torch.inference_mode()
def kl(model: PreTrainedModel, reference: PreTrainedModel, rows: list[Scored]) -> list[float]:
    """Sum over ids[start:] of KL(model's next token || reference's), in nats, per row."""
    out = [0.0] * len(rows)
    vocab_size = int(model.get_output_embeddings().weight.shape[0])
    for chosen in batches(rows, vocab_size):
        ids = [rows[i].ids for i in chosen]
        first = min(rows[i].start for i in chosen)
        ours = forward(model, ids, first).float().log_softmax(-1)  # (B, K, V)
        theirs = forward(reference, ids, first).float().log_softmax(-1)
        size = min(ours.shape[-1], theirs.shape[-1])  # padded embeddings may differ in rows
        ours, theirs = ours[..., :size], theirs[..., :size]
        per_token = (ours.exp() * (ours - theirs)).sum(-1)  # (B, K)
        for line, i in zip(per_token, chosen, strict=True):
            out[i] = float(line[rows[i].start - first : len(rows[i].ids) - first].sum())
    return out
