"""The stages, one module each: its config, its `STAGE`, and `build` (it trains) or `run`.

A module whose name begins with _ is no stage: several share what is in it.

Importing a stage module is cheap: torch, transformers, trl and datasets are imported inside `build`
and `run`.
"""

from __future__ import annotations

import pkgutil
from importlib.metadata import entry_points

from hfllm.recipe.stage import Stages

GROUP = "hfllm.stages"  # the entry point group in which an installed package adds stages


def find_stages() -> Stages:
    """The stages of this package, then those that installed packages add; none is imported yet.

    Raises:
        ValueError: a package adds a stage under a name that exists already.
    """
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    modules = {name: f"{__name__}.{name}" for name in names if not name.startswith("_")}
    for point in entry_points(group=GROUP):
        if point.name in modules:
            raise ValueError(
                f"stage {point.name!r} is there already: the entry point {point.value!r} needs "
                "another name"
            )
        modules[point.name] = point.value
    return Stages(modules)
