"""Which errors are one line to the user, and which are mistakes of ours with a traceback."""

import errno

import pytest
from safetensors import SafetensorError

from hfllm.runs.user_errors import explain


def full(number=errno.ENOSPC):
    return OSError(number, "No space left on device", "runs/x/model.safetensors")


def caused_by(error):
    try:
        try:
            raise error
        except BaseException as cause:
            raise RuntimeError("an error occurred while generating the data set") from cause
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (full(), "runs/x/model.safetensors"),
        (full(errno.EDQUOT), "runs/x/model.safetensors"),
        (OSError(errno.ENOSPC, "No space left on device"), "while writing"),
        (caused_by(full()), "runs/x/model.safetensors"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "I/O error"),
        (RuntimeError("[enforce fail at x] . PytorchStreamWriter failed writing file a"), "torch"),
    ],
)
def test_a_full_disk_is_told_however_a_library_wraps_it(error, place):
    line, code = explain(error)
    assert code == 1 and "\n" not in line
    assert line.startswith("the disk is full (") and place in line
    assert line.endswith("free some space and rerun the same command to resume")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "change its permissions"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "a file stands where a folder is needed"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ELOOP, "a link points to itself"),
    ],
)
def test_what_a_path_can_do_to_us_is_told_with_the_path(number, remedy):
    line, code = explain(OSError(number, "Some words", "data/x"))
    assert code == 1 and line.startswith("data/x: some words; ") and remedy in line


def test_input_errors_say_nothing_of_resuming_and_an_interrupt_does():
    assert explain(ValueError("recipe.yaml: no")) == ("recipe.yaml: no", 1)
    line, code = explain(KeyboardInterrupt())
    assert code == 130 and "rerun the same command to resume" in line


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), AssertionError(), OSError(5000)])
def test_mistakes_of_ours_keep_their_traceback(error):
    assert explain(error) is None


def test_a_package_that_a_library_wants_is_one_line_and_a_module_of_ours_is_not():
    line, code = explain(ImportError("You need to install `bitsandbytes`"))
    assert code == 1 and line.startswith("You need to install `bitsandbytes`; install")
    assert explain(ModuleNotFoundError("No module named 'hfllm.x'", name="hfllm.x")) is None
    assert explain(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None
