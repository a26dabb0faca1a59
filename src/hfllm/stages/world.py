"""World: write the embedded small world's text, chats, pairs, prompts and tests."""

from __future__ import annotations

from hfllm.recipe.data_schema import WorldConfig
from hfllm.runs.layout import Step
from hfllm.runs.record import recording
from hfllm.world.generate import generate_world


def run(config: WorldConfig, step: Step) -> None:
    """Generate from `config.seed`, or the recipe's seed."""
    seed = step.seed if config.seed is None else config.seed
    with recording(step) as manifest:
        counts = generate_world(config, seed, step.data)
        manifest.metrics |= {f"rows/{name}": n for name, n in counts.items()} | {"world_seed": seed}
        for name, rows in counts.items():
            print(f"  {name:<28} {rows:>7,} rows")
