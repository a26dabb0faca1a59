"""The "replies" task: open prompts, whose answers no program can grade.

`correct` and `true_score` stay null, so there is no accuracy. Measured are: whether the answer
ended before the token limit, its length, its reward, whether it repeats itself, and whether the
model gives the same answer to different prompts (metrics/repetition), which is the first visible
sign of reward hacking. Where a row gives a `reply` itself (a held-out chat), the model's loss on it
is measured too, on the tokens that SFT would train: the last answer and its end.
"""

from __future__ import annotations

from collections.abc import Callable

from hfllm.evaluation.graders import is_refusal
from hfllm.evaluation.intervals import ratio, share
from hfllm.evaluation.measure import LOOPING, REPLY_LOSS, SAME_ANSWER
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest, messages_of, plain_prompt
from hfllm.evaluation.sample import Sample, answer_rows
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, result
from hfllm.evaluation.tasks import answers
from hfllm.inference.cut import say_cut
from hfllm.inference.loglik import continuation, split_continuation, token_scores
from hfllm.inference.prompts import positions
from hfllm.tokenization.render import render


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt; samples in the order of the rows, not graded.

    Raises:
        ValueError: a row has neither `prompt` nor `plain`.
    """
    samples, _ = answer_rows(tested, task, spec)
    circles = load_metric("repetition").compute(predictions=[s.output for s in samples])
    for sample, flag in zip(samples, circles["looping_flags"], strict=True):
        sample.looping = flag
    score_replies(
        tested, task, [sample for sample in samples if sample.row.get("reply") is not None]
    )
    return samples


def score_replies(tested: ModelUnderTest, task: str, samples: list[Sample]) -> None:
    """Set the loss of the rows' replies; what is longer than the model is said.

    A reply that does not fit is left out; else its prompt is cut on the left.
    """
    label, limit, cut = f"{tested.spec.name}: {task}", positions(tested.model), 0
    asked = []
    for sample in samples:
        context, ids = reply_tokens(tested, sample.row)
        if len(ids) < limit:
            asked.append((sample, continuation(context, ids, limit)))
            cut += asked[-1][1].start < len(context)
    if left_out := len(samples) - len(asked):
        print(
            f"{label}: {left_out:,} of {len(samples):,} replies do not fit the model's "
            f"{limit:,} positions: no part of {REPLY_LOSS.name}",
            flush=True,
        )
    say_cut(label, cut, len(asked), limit, "prompts with their reply")
    found = token_scores(tested.model, [request for _, request in asked], label) if asked else []
    for (sample, _), scores in zip(asked, found, strict=True):
        sample.reply_nats, sample.reply_tokens = -scores.total(), len(scores.logprobs)


def reply_tokens(tested: ModelUnderTest, row: TestRow) -> tuple[list[int], list[int]]:
    """The token ids of a row's prompt, and those of its reply."""
    tokenizer = tested.tokenizer
    if not tested.spec.chat:
        return split_continuation(tokenizer, plain_prompt(row), f" {row['reply']}")
    messages = [*messages_of(row), {"role": "assistant", "content": row["reply"]}]
    rendered = render(tokenizer, messages, train="last")
    begin = rendered.trained.index(True)
    end = len(rendered.trained) - rendered.trained[::-1].index(True)
    return rendered.input_ids[:begin], rendered.input_ids[begin:end]


def grade(samples: list[Sample], is_correct: Callable[[Sample], bool]) -> None:
    """Set `correct`, `refused` and `answerable` of replies that a program can check after all."""
    for sample in samples:
        sample.correct = is_correct(sample)
        sample.refused, sample.answerable = is_refusal(sample.output), True


def summarize(samples: list[Sample]) -> list[Result]:
    """The results of any answers (answers.summarize), and the shares of repetition."""
    given = [s for s in samples if s.reply_nats is not None]
    nats, tokens = [s.reply_nats or 0.0 for s in given], [s.reply_tokens or 0 for s in given]
    loss = [(REPLY_LOSS, ratio(nats, tokens))] if given else []
    found = load_metric("repetition").compute(predictions=[s.output for s in samples])
    loss += [(one, share(found[f"{one.name}_flags"])) for one in (LOOPING, SAME_ANSWER)]
    model, task = samples[0].model, samples[0].task
    return answers.summarize(samples) + [result(model, task, *one) for one in loss]
