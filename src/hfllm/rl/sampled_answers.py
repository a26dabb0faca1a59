"""Sample n answers to each prompt and score them, batch by batch, with a file to go on from.

Prompts are taken longest first, so that a batch's rows are of one length and memory runs out at
once or never. A batch is all answers to as many prompts as `batch_size` answers allow, at least
one; after it is scored, its line is appended to the file and synced. A run that is killed loses
the batch that it was at: the next one reads the lines, cuts off a half-written one, and goes on.
Batches are a function of prompts and keys: a resumed run is the straight one, bit for bit on a CPU.

An answer's random numbers are a function of the seed, the prompt's tokens, which of several equal
prompts it is, and the answer's number: other prompts beside it, another batch size or a larger n
leave them as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfllm.inference.generate import Answer, Generator
from hfllm.inference.progress import track
from hfllm.inference.prompts import encode_prompt
from hfllm.inference.sampling import Sampling, stream
from hfllm.rl.best_answers import SampledAnswer
from hfllm.rl.score_answers import AnswerScorer, Scored


@dataclass(frozen=True)
class Asked:
    """How often and how long each prompt is answered."""

    count: int  # answers to a prompt
    most: int  # tokens of an answer, with the stop token
    batch_size: int  # answers decoded together
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class Prompt:
    """A prompt's row, its tokens, and its name, from which the random streams are made."""

    row: dict[str, Any]
    ids: list[int]
    name: str


class AnswersFile:
    """Lines of finished batches: {"names": of its prompts, "answers": per prompt, "logged"}."""

    def __init__(self, path: Path) -> None:
        """`path`: made if it is missing."""
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The finished batches; a line that was half written is cut off the file."""
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(self.path, end)
        return [json.loads(line) for line in whole[:end].splitlines()]

    def append(self, batch: dict[str, Any]) -> None:
        """Add a batch; it is on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(json.dumps(batch, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Sampled:
    """The answers to each prompt, in the order of the rows, and what the functions logged."""

    groups: list[list[SampledAnswer]]
    logged: dict[str, float]  # means over batches
    prompt_tokens: int  # that were read, once for each answer
    resumed: int  # prompts whose answers were there


def prompts_of(tokenizer: Any, rows: Sequence[dict[str, Any]]) -> list[Prompt]:
    """Render the rows' prompts and name them."""
    seen: Counter[str] = Counter()
    out = []
    for row in rows:
        ids = encode_prompt(tokenizer, row["prompt"])
        digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
        out.append(Prompt(row, ids, f"{digest}-{seen[digest]}"))
        seen[digest] += 1
    return out


def sample_answers(
    generator: Generator,
    prompts: Sequence[Prompt],
    asked: Asked,
    scorer: AnswerScorer,
    file: AnswersFile,
) -> Sampled:
    """Sample and score `asked.count` answers to each prompt.

    Args:
        generator: of the model that answers.
        prompts: of `prompts_of`; each fits into the model with an answer.
        asked: how many answers, and how they are drawn.
        scorer: the reward functions.
        file: gets a line a batch; its lines of an earlier run are taken over.

    Raises:
        ValueError: the file is of other prompts, a function fails, or none scores any answer.
    """
    batches, done = _batches(prompts, asked), file.read()
    _check(file, batches, prompts, done)
    there = sum(map(len, batches[: len(done)]))
    with track(len(prompts) - there, "sample", "prompts") as bar:
        for batch in batches[len(done) :]:
            done.append(_answered(generator, [prompts[i] for i in batch], asked, scorer))
            _check_scored(done)
            file.append(done[-1])
            bar(len(batch))
    groups: list[list[SampledAnswer]] = [[] for _ in prompts]
    for batch, said in zip(batches, done, strict=True):
        for i, answers in zip(batch, said["answers"], strict=True):
            groups[i] = [SampledAnswer(**answer) for answer in answers]
    read = asked.count * sum(len(prompt.ids) for prompt in prompts)
    return Sampled(groups, _means(done), read, there)


def _batches(prompts: Sequence[Prompt], asked: Asked) -> list[list[int]]:
    """Numbers of the prompts that are answered together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids), reverse=True)
    together = max(1, asked.batch_size // asked.count)
    return [order[i : i + together] for i in range(0, len(order), together)]


def _check(
    file: AnswersFile,
    batches: list[list[int]],
    prompts: Sequence[Prompt],
    done: list[dict[str, Any]],
) -> None:
    names = [[prompts[i].name for i in batch] for batch in batches[: len(done)]]
    if [batch["names"] for batch in done] != names:
        raise ValueError(
            f"{file.path}: answers to other prompts than those of now: a source has changed; "
            f"delete {file.path} and run again"
        )


def _check_scored(done: list[dict[str, Any]], enough: int = 64) -> None:
    """ValueError if nothing scored any of the first answers, after `enough` of them."""
    answers = [answer for batch in done[:enough] for group in batch["answers"] for answer in group]
    if len(answers) >= enough and all(answer["score"] is None for answer in answers):
        raise ValueError(
            f"no reward function scored any of {len(answers)} sampled answers (all returned None); "
            "check the columns that the functions read"
        )


def _answered(
    generator: Generator, batch: list[Prompt], asked: Asked, scorer: AnswerScorer
) -> dict[str, Any]:
    """All answers to the prompts of one batch, scored: a line of the file."""
    every = [(prompt, number) for prompt in batch for number in range(asked.count)]
    answers = []
    for part in _parts(every, asked.batch_size):
        streams = [stream(asked.seed, prompt.name, number) for prompt, number in part]
        ids = [prompt.ids for prompt, _ in part]
        answers += generator.draw(ids, asked.most, asked.sampling, streams)
    rows = [prompt.row for prompt, _ in every]
    scored = scorer(rows, [answer.text for answer in answers], [answer.ids for answer in answers])
    special = set(generator.tokenizer.all_special_ids)
    said = [_as_row(*pair, special) for pair in zip(answers, scored, strict=True)]
    return {
        "names": [prompt.name for prompt in batch],
        "answers": list(_parts(said, asked.count)),
        "logged": scorer.logged,
    }


def _as_row(answer: Answer, scored: Scored, special: set[int]) -> dict[str, Any]:
    """What the file keeps of an answer."""
    spoken = answer.ids[:-1] if answer.ended else answer.ids
    found = SampledAnswer(
        text=answer.text,
        tokens=answer.tokens,
        ended=answer.ended,
        has_control_tokens=not special.isdisjoint(spoken),
        score=scored.score,
        scores=scored.by_function,
    )
    return asdict(found)


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    yield from (items[i : i + size] for i in range(0, len(items), size))


def _means(done: list[dict[str, Any]]) -> dict[str, float]:
    """Mean over batches of each number that the functions logged."""
    found: dict[str, list[float]] = {}
    for batch in done:
        for name, values in batch["logged"].items():
            found.setdefault(name, []).extend(values)
    return {name: sum(values) / len(values) for name, values in found.items()}
