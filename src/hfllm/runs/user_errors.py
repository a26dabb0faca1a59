"""Tell an error that the user can mend (one line, exit code) from a mistake of ours (a traceback).

`hfllm` and `launch/*.py` end with what `explain` says. The libraries wrap a full disk or a lack of
memory in errors of their own, so the causes of an error are looked at too.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from hfllm.recipe.errors import first_line, is_out_of_memory

RESUME = "rerun the same command to resume"
FULL = (errno.ENOSPC, errno.EDQUOT)
# what the user's files and folders can do to us; any other OSError is looked into as a bug
REMEDIES = {
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "the disk is mounted read-only; name another place",
    errno.ENOENT: "it is gone, or cannot be made there; name another place",
    errno.EEXIST: "a file stands where a folder is needed; move it, or name another place",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or name another place",
    errno.EISDIR: "a folder stands where a file is needed; move it, or name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link points to itself; mend it, or name another place",
    errno.EIO: "the disk cannot be read or written there; check it",
    errno.ESTALE: "the network disk has lost it; mount it again",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
}


def explain(error: BaseException) -> tuple[str, int] | None:
    """The message and the exit code for what the user can mend; None for a mistake of ours."""
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {RESUME} from the last checkpoint, if any", 130
    if (place := _full_disk(error)) is not None:
        return f"the disk is full ({place}); free some space and {RESUME}", 1
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return _out_of_memory(error), 1
    if isinstance(error, ValueError):
        return str(error), getattr(error, "exit_code", 1)
    if isinstance(error, ImportError) and (missing := _missing_package(error)):
        return missing, 1
    if isinstance(error, OSError) and error.errno in REMEDIES:
        what = (error.strerror or first_line(error)).lower()
        return f"{error.filename or 'a file'}: {what}; {REMEDIES[error.errno]}", 1
    return None


def _missing_package(error: ImportError) -> str | None:
    """One line on a package that a library wants and that is not installed; None if it is ours.

    A name that an installed module lacks ("cannot import name") is a mistake of ours.
    """
    by_hand = error.name is None or isinstance(error, ModuleNotFoundError)
    if not by_hand or (error.name or "").split(".")[0] == "hfllm":
        return None
    return f"{first_line(error)}; install the package, or leave out the key that needs it"


def _full_disk(error: BaseException) -> str | None:
    """The file that found no room, or what was done to it; None if the disk is not full."""
    for one in _causes(error):
        text = str(one)
        written = "No space left on device" in text or "os error 28" in text
        if isinstance(one, OSError) and one.errno in FULL:
            return str(one.filename or "while writing")
        if written and not isinstance(one, ValueError):  # safetensors, arrow
            return first_line(one)
        if "PytorchStreamWriter failed writing" in text:
            return f"torch: {first_line(one)}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _out_of_memory(error: BaseException) -> str:
    return (
        f"out of memory ({first_line(error)}): lower trainer.per_device_train_batch_size (and "
        "raise trainer.gradient_accumulation_steps by as much), data.seq_len or the model's sizes, "
        "or set trainer.activation_checkpointing=true"
    )
