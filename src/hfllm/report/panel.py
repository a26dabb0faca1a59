"""One chart of training metrics: which keys stand together, and what they mean in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A chart: its title, unit, the keys it may show with their short labels, and its meaning.

    A key that ends in "*" matches every key with that beginning. `stages` limits a panel to the
    stages in which its keys mean this. `over`: the key on the horizontal axis instead of the step,
    in `x_unit`.
    """

    title: str
    unit: str
    keys: dict[str, str]
    meaning: str = ""
    log: bool = False
    stages: tuple[str, ...] = ()
    over: str = ""
    x_unit: str = "step"

    def match(self, keys: list[str], stage: str) -> list[str]:
        """The keys of a step that belong in this panel, in the panel's order."""
        if self.stages and stage not in self.stages:
            return []
        chosen = []
        for pattern in self.keys:
            if pattern.endswith("*"):
                chosen += [k for k in keys if k.startswith(pattern[:-1]) and k not in chosen]
            elif pattern in keys:
                chosen.append(pattern)
        return chosen

    def label(self, key: str) -> str:
        """The short label of a key: the panel's, else the end of the key itself."""
        if key in self.keys:
            return self.keys[key]
        return re.sub(r"/mean$", "", key).split("/")[-1].replace("_", " ")[:14]
