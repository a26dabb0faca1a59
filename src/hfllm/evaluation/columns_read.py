"""Which columns of a test's row somebody reads: its shape's conversion, its task, or a grader.

The others are noted by the reader (`not read: COLUMN`), as those of documents, chats and pairs are.
"""

from __future__ import annotations

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.formats import CHATS, PROMPTS, columns_read
from hfllm.evaluation.shapes import as_reply, find_shape
from hfllm.evaluation.specs import TestRow

# in the tests that hfllm writes itself, for who reads the file (world/prompts.py, instructions/)
OURS = ("task", "person", "fact", "steps", "instruction", "check")
ASKED = (  # of every row that is answered (tasks/answers.py, replies.py; scorers.py)
    "prompt", "plain", "facts_seen_in_chats", "constraints", "instruction_id_list",
)  # fmt: skip
TASKS = {  # what tasks read of the rows of a kind, in the form that shapes.py gives them
    "choices": (
        "query", "choices", "gold", "context_options", "continuation", "sentence_good",
        "sentence_bad", "field",
    ),
    "continuation": ("context", "continuation"),
    "answers": (
        *ASKED, "answer", "answers", "aliases", "check", "rivals", "choices", "enough_words",
        "answerable",
    ),
    "replies": (*ASKED, "reply"),
    "instructions": (*ASKED, "reply"),
    "ifeval": (*ASKED, "reply", "key", "kwargs"),
}  # fmt: skip


def columns_read_of(row: TestRow, format: str | None, kind: str) -> tuple[str, ...]:
    """The columns of a row of this kind that are read.

    Args:
        row: as it was read.
        format: of its source; only chats have one.
        kind: of the test, a key of TASKS.
    """
    shape = find_shape(row, kind)
    converted = (*shape.columns, *shape.also) if shape else ()
    if kind == "replies":
        converted = _of_a_reply(row, format)
    return (*TASKS[kind], *OURS, *converted)


def _of_a_reply(row: TestRow, format: str | None) -> tuple[str, ...]:
    """The columns of the prompt, and those of the reply if the row gives one."""
    read = columns_read(row, format, PROMPTS)
    made = as_reply(row, format)
    if isinstance(made, Drop) or "reply" not in made:
        return read
    try:
        return (*read, *columns_read(row, format, CHATS))
    except DataError:  # a column `reply` of its own
        return read
