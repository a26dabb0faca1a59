"""Read the first rows of every source of a step, with a line for each that is not of its kind.

For the checks before a run. Sources of steps that are not done, and of the hub, are not read: their
rows are not there yet, and a check downloads nothing (`unread` names them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hfllm.data.ledger import DataError, Example
from hfllm.data.reading.first_examples import first_examples
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import first_line
from hfllm.recipe.graph import sources_in
from hfllm.runs.layout import Step
from hfllm.runs.status import status

ROWS = 20  # of each source
OTHER_KINDS = {"pairs": "preference pairs", "labelled": "labelled answers",
               "chats": "conversations", "texts": "documents", "prompts": "prompts"}  # fmt: skip

Rows = dict[str, list[Example]]


def first_rows(step: Step, kinds: Mapping[str, str]) -> tuple[Rows, list[str]]:
    """The first rows of a step's sources, by the source's key, and the problems found.

    Args:
        step: whose config has the sources.
        kinds: {the key of a source or of a list of sources: a kind of first_examples.KINDS};
            sources under other keys are left out.

    Returns:
        {key: rows}, and lines "key: what is wrong".
    """
    found: Rows = {}
    problems = []
    for key, source in sources_in(step.spec.config):
        kind = kinds.get(key.split("[")[0])
        if kind is None or why_unread(step, source):
            continue
        try:
            found[key] = first_examples(source, kind, ROWS, step.data_of)
        except ValueError as error:
            problems.append(f"{key}: {error}{_reads_as(step, source, kind, error)}")
        except OSError as error:
            problems.append(f"{key}: {first_line(error)}")
    return found, problems


def why_unread(step: Step, source: SourceConfig) -> str | None:
    """Why the rows of a source cannot be looked at before the run, or None."""
    if source.step and not status(step.other(source.step)).is_done:
        return f"step '{source.step}' has not run"
    if source.hub and not Path(source.hub).exists():
        return "the hub"
    return None


def unread(step: Step) -> Iterator[str]:
    """Of each source that is not read: why, in a few words."""
    for _, source in sources_in(step.spec.config):
        if why := why_unread(step, source):
            yield why


def _reads_as(step: Step, source: SourceConfig, kind: str, error: ValueError) -> str:
    """What the rows are, if they are of another kind: the end of a message, or nothing."""
    if getattr(error, "reason", None) != "missing_column" or source.format:
        return ""
    for other, name in OTHER_KINDS.items():
        if other == kind:
            continue
        try:
            first_examples(source, other, 1, step.data_of)
        except (DataError, OSError):
            continue
        return f"; these rows are {name}"
    return ""
