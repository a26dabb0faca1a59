"""Load weights without transformers' table of missing and unexpected ones: callers judge them.

A model that lacks weights is refused by its loader with one line, a score head that training makes
anew is no fault, and the head of an adapter comes from the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers import AutoConfig
from transformers.utils import logging


@contextmanager
def without_load_report() -> Iterator[None]:
    """Hide the table; the caller asks for `output_loading_info` and says what matters."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def reward_model_problem(place: str) -> str | None:
    """One line if a folder or hub id that must be a language model is a classifier, else None.

    With a tied head no weight of a language model is missing there, and it would write nonsense.
    """
    try:
        kinds = AutoConfig.from_pretrained(place).architectures or []
    except Exception:  # of any type; the loader says so in its own words
        return None
    found = next((kind for kind in kinds if kind.endswith("ForSequenceClassification")), None)
    if found is None:
        return None
    return (
        f"{place} is a reward model ({found}): it scores answers and writes none; name a language "
        "model, such as the sft step that it was made of"
    )


def left_out(keys: Sequence[str], kind: str) -> str:
    """One line on weights of a folder that the model of class `kind` has not; "" for none."""
    if not keys:
        return ""
    return f"{len(keys)} weights are not of a {kind} and are left out, {min(keys)} first"
