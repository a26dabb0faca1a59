"""Checks of sources that read no row, for the checks before a run."""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.data.reading.examples import label
from hfllm.data.reading.files import Resolve
from hfllm.data.reading.find import find_files
from hfllm.data.reading.formats import FORMATS
from hfllm.recipe.config import SourceConfig

ON_ERROR = ("raise", "skip")


def check_sources(sources: list[SourceConfig], resolve: Resolve) -> list[str]:
    """Problems of a list of sources, one line each.

    A step that has not run yet is no problem; for an unknown step `resolve` may raise.
    """
    names = [label(source) for source in sources]
    problems = [
        f"two sources are called {name!r}; give one of them another `name`"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    for source, name in zip(sources, names, strict=True):
        problems += [f"source {name!r}: {problem}" for problem in _check(source, resolve)]
    return problems


def _check(source: SourceConfig, resolve: Resolve) -> Iterator[str]:
    places = [key for key in ("step", "path", "hub") if getattr(source, key)]
    if len(places) != 1:
        yield f"set exactly one of `step`, `path` and `hub`, not {' and '.join(places) or 'none'}"
    if source.on_error not in ON_ERROR:
        yield f"on_error: {source.on_error!r} is unknown; known: {', '.join(ON_ERROR)}"
    if source.format and source.format not in FORMATS:
        yield f"format: {source.format!r} is unknown; known: {', '.join(FORMATS)}"
    if places in (["step"], ["path"]):
        try:
            if not source.step or resolve(source.step).is_dir():
                find_files(source, resolve)
        except (ValueError, KeyError) as error:
            yield str(error)
