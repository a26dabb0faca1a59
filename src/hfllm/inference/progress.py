"""Progress of long loops: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY_S = 20.0


@contextmanager
def track(total: int, label: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Give a function that counts `n` more done, shown on stderr.

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
    count, spoken = 0, time.monotonic()

    def done(n: int) -> None:
        nonlocal count, spoken
        count += n
        if time.monotonic() - spoken > LINE_EVERY_S and count < total:
            spoken = time.monotonic()
            print(f"{label}: {count:,} of {total:,} {unit}", file=sys.stderr, flush=True)

    yield done
