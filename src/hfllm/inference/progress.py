"""Progress of long loops on stderr: a tqdm bar on a terminal, a line every 20 seconds in a log.

The lines come from a thread of their own, so that one large batch on a slow machine is not silent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from hfllm.runs.progress_format import duration

LINE_EVERY_S = 20.0


@contextmanager
def track(total: int, label: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts `n` more items as done.

    Args:
        total: items in all.
        label: what is being done.
        unit: name of the items, in the plural.

    Example:
        with track(len(rows), "answers", "prompts") as done:
            for batch in batches:
                done(len(batch))
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, unit=f" {unit}", leave=False) as bar:
            yield lambda n: bar.update(n) and None
        return
    count, begun, ended = 0, time.monotonic(), Event()

    def done(n: int) -> None:
        nonlocal count
        count += n

    def lines() -> None:
        while not ended.wait(LINE_EVERY_S):
            left = time_left(count, total, time.monotonic() - begun)
            print(f"{label}: {count:,} of {total:,} {unit}{left}", file=sys.stderr, flush=True)

    thread = Thread(target=lines, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def time_left(count: int, total: int, seconds: float) -> str:
    """`, 40 s left` at the speed so far; before the first item how long it has been at work."""
    if count:
        return f", {duration(seconds / count * (total - count))} left"
    return f" after {duration(seconds)}"
