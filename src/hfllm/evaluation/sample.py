"""One answer of a model to one test row (a line of samples.jsonl), and how the rows are answered.

Every task that asks for answers (tasks/: answers, replies, instructions, ifeval) calls
`answer_rows`, which leaves a sample's grades empty, and sets those that its checker can give.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hfllm.evaluation.specs import TaskSpec, TestRow

if TYPE_CHECKING:
    from hfllm.evaluation.model_under_test import ModelUnderTest
    from hfllm.inference.generate import Answer


@dataclass
class Sample:
    """One answer and its grades; None: not graded, because no program can tell or none was asked.

    answer: the reference answer. output: the model's answer, stripped. true_score: 0 to 1
    (graders.py). reward: score of the reward model. relevance: in nats (inference/relevance.py).
    confidence: probability of the likeliest choice, and choice_correct whether it is the right one.
    reply_nats, reply_tokens: of the reply that the row itself gives (tasks/replies.py).
    looping: whether the answer goes in circles (metrics/repetition).
    """

    task: str
    id: str
    prompt: str
    answer: str | None
    model: str
    output: str
    correct: bool | None
    refused: bool | None
    ended: bool
    tokens: int
    true_score: float | None
    answerable: bool | None
    reward: float | None = None
    relevance: float | None = None
    confidence: float | None = None
    choice_correct: bool | None = None
    reply_nats: float | None = None
    reply_tokens: int | None = None
    looping: bool | None = None
    row: TestRow = field(default_factory=dict, repr=False)
    max_new_tokens: int = 48

    def to_json(self) -> dict[str, Any]:
        """The line of samples.jsonl (without the test row)."""
        kept = asdict(self)
        del kept["row"], kept["max_new_tokens"]
        return kept


def answer_rows(
    tested: ModelUnderTest, task: str, spec: TaskSpec
) -> tuple[list[Sample], list[Answer]]:
    """Answer every row with the model's generator (greedy by default).

    Args:
        tested: the model.
        task: name of the task.
        spec: its rows, and how many tokens an answer may have.

    Returns:
        samples in the order of the rows, not graded; the answers with their token ids.

    Raises:
        ValueError: a row has neither `prompt` nor `plain`.
    """
    from hfllm.evaluation.model_under_test import prompt_of  # torch, which `hfllm compare` spares
    from hfllm.inference.prompts import as_text

    rows = spec.taken()
    prompts = [prompt_of(row, tested.spec.chat) for row in rows]
    label = f"{tested.spec.name}: {task}"
    answers = tested.generator.answer(prompts, spec.max_new_tokens, label=label)
    samples = [
        Sample(
            task=task,
            id=str(row.get("id", number)),
            prompt=as_text(prompt),
            answer=None,
            model=tested.spec.name,
            output=answer.text.strip(),
            correct=None,
            refused=None,
            ended=answer.ended,
            tokens=answer.tokens,
            true_score=None,
            answerable=None,
            row=row,
            max_new_tokens=spec.max_new_tokens,
        )
        for number, (row, prompt, answer) in enumerate(zip(rows, prompts, answers, strict=True))
    ]
    return samples, answers
