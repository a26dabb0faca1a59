"""The shapes of test rows: which columns make which kind of test, and published ones as ours.

`hfllm eval` finds the kind of a test from its columns (`kind_of`); a recipe names the kind, and its
rows may have any shape of that kind. A row is converted to what its task reads: `query`, `choices`
and `gold` (choices), `prompt` and `answer` (answers), `prompt` and `reply` (replies). Rows of no
shape, or with values of another type, are refused in one line (DataError; the reader adds the file
and the row).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.extra_columns import GIVEN as BEFORE
from hfllm.data.reading.extra_columns import HISTORY, SYSTEM, TOOLS
from hfllm.data.reading.formats import CHATS, as_chat, as_prompt
from hfllm.evaluation import published
from hfllm.evaluation.accepted import BAD_TEST
from hfllm.evaluation.graders import check_row
from hfllm.evaluation.published import GIVEN, given_text, text_of
from hfllm.evaluation.specs import TestRow


@dataclass(frozen=True)
class Shape:
    """Columns that a row of a kind of test needs, none of them null, and what is made of them."""

    kind: str
    columns: tuple[str, ...]
    convert: Callable[[TestRow], TestRow] = lambda row: {}  # columns that replace or join the row's
    name: str = ""  # the data set that has it
    also: tuple[str, ...] = ()  # columns that `convert` reads beside those


def find_shape(row: TestRow, kind: str | None = None) -> Shape | None:
    """The first shape, of one kind or of any, whose columns the row has."""
    for shape in SHAPES:
        fits = all(row.get(column) is not None for column in shape.columns)
        if fits and kind in (None, shape.kind):
            return shape
    return None


def as_test_row(row: TestRow, kind: str) -> TestRow:
    """The row in the form that tasks of this kind read.

    Raises:
        DataError: it has no shape of this kind, or a value of another type.
    """
    shape = find_shape(row, kind)
    if shape is None:
        raise DataError(
            f"the columns {_there(row)} are no row of a `{kind}` test; it has {describe(kind)}; "
            "rename them with `columns`",
            BAD_TEST,
        )
    made = {**row, **shape.convert(row)}
    if kind == "answers":
        check_row(made)
    return made


def kind_of(row: TestRow) -> str:
    """The kind of test that a row's columns make; DataError with all shapes if none."""
    shape, is_pair = find_shape(row), "chosen" in row and "rejected" in row
    if shape is not None and not (is_pair and shape.kind == "replies"):
        return shape.kind
    if is_pair:
        raise DataError(
            "preference pairs test a reward model: name it in a recipe's `evaluate.reward`, with a "
            "task of the kind `preference`"
        )
    kinds = dict.fromkeys(shape.kind for shape in SHAPES)
    known = "; ".join(f"{kind}: {describe(kind)}" for kind in kinds)
    raise DataError(
        f"its columns {_there(row)} are those of no test; known are {known}; rename them, or give "
        "documents as --text",
        BAD_TEST,
    )


def describe(kind: str) -> str:
    """The shapes of a kind, for messages: "prompt + answer (or as published: GSM8K, SQuAD)"."""
    shapes = [shape for shape in SHAPES if shape.kind == kind]
    ours = next((shape for shape in shapes if not shape.name), shapes[0])
    named = ", ".join(shape.name for shape in shapes if shape.name and shape is not ours)
    return " + ".join(ours.columns) + (f" (or as published: {named})" if named else "")


def _there(row: TestRow) -> str:
    """The columns that hold something, for messages."""
    own = (key for key, value in row.items() if value not in (None, "", []))
    return ", ".join(str(key) for key in own if key not in ("id", "source")) or "none"


def as_reply(row: TestRow, format: str | None) -> TestRow | Drop:
    """A prompt, and as `reply` the answer that the row gives to it, if it gives one."""
    made = as_prompt(row, format)
    if isinstance(made, Drop):
        return made
    try:
        chat = as_chat(row, format)
    except DataError:  # a prompt alone
        return made
    if isinstance(chat, Drop):
        return made
    *prompt, reply = chat["messages"]
    return made | ({"reply": reply["content"]} if len(prompt) == len(made["prompt"]) else {})


def _chat(row: TestRow) -> TestRow:
    made = as_reply(row, None)
    if isinstance(made, Drop):
        raise DataError(f"a chat to score has a question and a reply: {made.reason}", BAD_TEST)
    return {key: made[key] for key in ("prompt", "reply") if key in made}


def _prompt(row: TestRow) -> TestRow:
    """The `prompt` as it is; a text beside it that it does not hold is refused, not passed over."""
    made = _asked(row, "prompt")
    if (given := given_text(row)) and given not in str(made["prompt"][-1]["content"]):
        raise DataError(
            f"the text in {' or '.join(GIVEN)} is not in the `prompt`: put it there, call the "
            "column `question`, or leave the text out (`ignore` on the source)",
            BAD_TEST,
        )
    return made


def _asked(row: TestRow, format: str) -> TestRow:
    made = as_prompt(row, format)
    if isinstance(made, Drop):
        raise DataError(f"no prompt: {made.reason}", BAD_TEST)
    return {key: made[key] for key in ("prompt", "answer", "check") if key in made}


def _question(row: TestRow) -> TestRow:
    """A question and what it is about; of GSM8K's answer the number, and of "9 (apples)"."""
    given = {"context": given_text(row)} if given_text(row) else {}
    format = "question_answer" if row.get("final") is None else "gsm8k"
    made, answer = _asked({**row, **given}, format), row.get("answer")
    if row.get("final") is None and isinstance(answer, str) and "####" in answer:
        made |= {"answer": answer.rpartition("####")[2].strip(), "check": "number"}
    elif isinstance(answer, str) and (number := NUMBER_AND_UNIT.fullmatch(answer)):
        made |= {"answer": number[1], "check": "number"}
    return made


def _completed(row: TestRow) -> TestRow:
    """A question in the form "Question: ... Answer:", as base models are asked."""
    if not text_of(row, "context").rstrip().endswith(":"):
        raise DataError('`context` without `question` must end with "Answer:"', BAD_TEST)
    return {"plain": row["context"]}


def _continuation(row: TestRow) -> TestRow:
    return {key: text_of(row, key) for key in ("context", "continuation")}


def _bbh(row: TestRow) -> TestRow:
    return {"prompt": text_of(row, "input"), "answer": row["target"]}


NAMED = {"sharegpt": "ShareGPT", "alpaca": "Alpaca", "dolly": "Dolly"}
NUMBER_AND_UNIT = re.compile(r"([-+$]?\d[\d.,/]*) ?\([^()]*\)")  # ASDiv: "9 (apples)"
BESIDE = (*SYSTEM, *TOOLS, *GIVEN)  # a prompt
ABOUT = (*BESIDE, *BEFORE, HISTORY)  # a question
SHAPES: tuple[Shape, ...] = (
    Shape("choices", ("query", "choices", "gold"), published.query),
    Shape("choices", ("sentence_good", "sentence_bad"), published.pair, "BLiMP"),
    Shape(
        "choices",
        ("context_options", "continuation", "gold"),
        published.contexts,
        "WinoGrande's contexts",
    ),
    Shape(
        "choices", ("question", "choices", "answerKey"), published.arc, "ARC, CommonsenseQA", GIVEN
    ),
    Shape("choices", ("question_stem", "choices", "answerKey"), published.arc, "OpenBookQA", GIVEN),
    Shape(
        "choices",
        ("question", "choices", "answer"),
        published.lettered("choices", "answer"),
        "MMLU",
        GIVEN,
    ),
    Shape(
        "choices",
        ("question", "options", "answer"),
        published.lettered("options", "answer"),
        "RACE",
        GIVEN,
    ),
    Shape(
        "choices",
        ("question", "options", "correct"),
        published.lettered("options", "correct"),
        "AQuA",
        GIVEN,
    ),
    Shape(
        "choices",
        ("question", *"ABCD", "answer"),
        published.lettered("A", "answer"),
        "MMLU as CSV",
        GIVEN,
    ),
    Shape("choices", ("question", "mc1_targets"), published.truthfulqa, "TruthfulQA"),
    Shape(
        "choices",
        ("ctx", "endings", "label"),
        published.hellaswag,
        "HellaSwag",
        ("ctx_a", "ctx_b", "activity_label"),
    ),
    Shape(
        "choices", ("sentence", "option1", "option2", "answer"), published.winogrande, "WinoGrande"
    ),
    Shape("choices", ("goal", "sol1", "sol2", "label"), published.piqa, "PIQA"),
    Shape("ifeval", ("prompt", "instruction_id_list", "kwargs")),
    Shape("instructions", ("prompt", "constraints")),
    Shape("continuation", ("context", "continuation"), _continuation),
    Shape("answers", ("prompt", "answer"), _prompt, "", BESIDE),
    Shape("answers", ("plain", "answer"), lambda row: {"plain": text_of(row, "plain")}),
    Shape("answers", ("prompt", "check"), _prompt, "", BESIDE),
    Shape("answers", ("question", "answer"), _question, "GSM8K, TriviaQA", (*ABOUT, "final")),
    Shape("answers", ("question", "answers"), _question, "SQuAD", (*ABOUT, "final")),
    Shape("answers", ("question", "final"), _question, "SVAMP", ABOUT),
    Shape("answers", ("input", "target"), _bbh, "BBH"),
    Shape("answers", ("context", "answer"), _completed),
    Shape("replies", ("messages",), _chat),
    *(Shape("replies", known.columns, _chat, NAMED.get(name, "")) for name, known in CHATS.items()),
    Shape("replies", ("prompt",), _prompt),
)
