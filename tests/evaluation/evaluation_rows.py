"""Shared by the evaluation tests: test rows as the small world writes them, and fake answers."""

import torch

from hfllm.inference.generate import Answer
from hfllm.inference.prompts import encode_prompt
from hfllm.tokenization.encode import encode_text


def answer_row(number, **changes):
    """A test row as the small world writes it."""
    row = {
        "id": f"known-{number}",
        "task": "known_facts",
        "prompt": [{"role": "user", "content": f"Who is number {number}?"}],
        "plain": f"Question: Who is number {number}?\nAnswer:",
        "answer": "a baker",
        "choices": ["a baker", "a weaver", "a fisher"],
        "rivals": ["a weaver", "a fisher", "a judge"],
        "check": "contains",
        "enough_words": 8,
        "answerable": True,
        "person": None,
        "facts_seen_in_chats": number % 2 == 0,
    }
    return {**row, **changes}


def by_metric(results):
    return {(row["task"], row["metric"]): row for row in results}


def total(model, context, text_ids):
    """Log-likelihood of text_ids after context, one row."""
    with torch.no_grad():
        logprobs = model(torch.tensor([context + text_ids])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(context) - 1 + k, i]) for k, i in enumerate(text_ids))


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
