"""One module a stage: its keys, its `STAGE`, and what it does (`build` or `run`).

Importing them is cheap: torch, transformers, trl and datasets are imported inside `build`, `run`.
"""

from __future__ import annotations

import pkgutil
from importlib.metadata import entry_points

from hfllm.recipe.stage import Stages

GROUP = "hfllm.stages"  # entry points by which an installed package adds stages


def find_stages() -> Stages:
    """The modules of this package, then those that installed packages add.

    Raises:
        ValueError: a package adds a stage under a name that is taken.
    """
    modules = {found.name: f"{__name__}.{found.name}" for found in pkgutil.iter_modules(__path__)}
    for point in entry_points(group=GROUP):
        if point.name in modules:
            raise ValueError(
                f"stage {point.name!r} is there already: the entry point {point.value!r} needs "
                "another name"
            )
        modules[point.name] = point.value
    return Stages(modules)
