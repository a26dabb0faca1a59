"""Lines of the libraries that sound like faults and are none are left out, and no other line."""

import logging

import pytest
from transformers.utils import logging as theirs

from hfllm.runs.quiet import HARMLESS, quiet_libraries

TIES = "There were missing keys in the checkpoint model loaded: [{}]."


@pytest.fixture()
def shown(caplog):
    """What transformers' loggers show: caplog sees what has passed their filters."""
    quiet_libraries()
    library = logging.getLogger("transformers")
    before = library.propagate
    theirs.enable_propagation()
    yield lambda: [record.getMessage() for record in caplog.records]
    library.propagate = before


def test_harmless_lines_are_left_out_and_no_other(shown):
    for name, begins in HARMLESS.items():
        for words in begins:
            theirs.get_logger(name).warning(f"{words} and so on")
        theirs.get_logger(name).warning(f"[RANK 1] {begins[0]}")
        theirs.get_logger(name).warning("a line that matters")
    assert shown() == ["a line that matters"] * len(HARMLESS)


def test_the_lines_are_in_the_installed_library():
    """An update that words them otherwise shows them again: then look at it here."""
    import inspect

    from transformers import trainer_utils
    from transformers.generation import configuration_utils
    from trl.trainer import grpo_trainer

    modules = (trainer_utils, configuration_utils, grpo_trainer)
    sources = {module.__name__: inspect.getsource(module) for module in modules}
    for name, begins in HARMLESS.items():
        assert all(words in sources[name] for words in begins), name


def test_a_tied_head_is_not_missing(shown, llama):
    from hfllm.training.checkpoints import without_tied_keys

    logger = theirs.get_logger("transformers.trainer")
    with without_tied_keys(llama):
        logger.warning(TIES.format("'lm_head.weight'"))
        logger.warning(TIES.format("'lm_head.weight', 'model.norm.weight'"))
        logger.warning("another line")
    logger.warning(TIES.format("'lm_head.weight'"))
    assert shown() == [
        TIES.format("'lm_head.weight', 'model.norm.weight'"),
        "another line",
        TIES.format("'lm_head.weight'"),
    ]
