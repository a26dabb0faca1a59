"""Progress of long loops on stderr: a tqdm bar on a terminal, a line every 20 seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    count, printed = 0, time.monotonic()

    def done(n: int) -> None:
        nonlocal count, printed
        count += n
        if time.monotonic() - printed > LINE_EVERY_S and count < total:
            printed = time.monotonic()
            print(f"{label}: {count:,} of {total:,} {unit}", file=sys.stderr, flush=True)

    yield done
