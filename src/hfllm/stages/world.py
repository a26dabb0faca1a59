"""World: generate text, chats, pairs, prompts and tests about a small synthetic world.

Every fact of this world is known, so answers about it can be graded without a person or a model.
"""

from __future__ import annotations

from typing import Any

from hfllm.recipe.stage import DATA, Stage
from hfllm.report.view.key_figures import rows_written
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.world.config import WorldConfig

STAGE = Stage(
    config=WorldConfig,
    makes=DATA,
    key_figure=rows_written,
)


def run(config: WorldConfig, step: Step, manifest: Manifest) -> None:
    """Generate the rows with `config.seed`, or with the recipe's seed if that is not set."""
    from hfllm.world.generate import generate_world

    seed = step.seed if config.seed is None else config.seed
    counts: dict[str, Any] = generate_world(config, seed, step.data)
    manifest.metrics |= {f"rows/{name}": n for name, n in counts.items()} | {"world_seed": seed}
    for name, rows in counts.items():
        print(f"  {name:<28} {rows:>7,} rows")
