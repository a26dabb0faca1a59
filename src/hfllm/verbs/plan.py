"""`hfllm plan`: what the training steps of a recipe will cost, on this machine or on others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfllm.verbs.errors import at_least, clear_errors


def plan(
    recipe: Annotated[Path, typer.Argument(help="a YAML recipe, e.g. configs/demo.yaml")],
    words: Annotated[list[str] | None, typer.Argument(help="[STEP] step.key=value ...")] = None,
    gpu: Annotated[str | None, typer.Option(help="h100, 4090, ...; default: this machine")] = None,
    count: Annotated[int | None, typer.Option(help="devices; default: those of `launch:`")] = None,
    price: Annotated[float | None, typer.Option(help="of a device and hour")] = None,
    mfu: Annotated[float | None, typer.Option(help="share of the peak, as 0.4")] = None,
    probe: Annotated[bool, typer.Option(help="run three steps apart and measure")] = False,
) -> None:
    """Parameters, tokens, FLOPs, memory by part, time and money of each training step."""
    with clear_errors():
        at_least(1, count=count)
        at_least(0, price=price)
        if mfu is not None and not 0 < mfu <= 1:
            raise ValueError(f"--mfu: {mfu} is not a share of the peak, above 0 and at most 1")
        from hfllm.planning.devices import device_named

        device = device_named(gpu) if gpu else None
        if probe and device:
            raise ValueError("--probe measures this machine; leave --gpu out")
        from hfllm.planning.ask import Asked, plan_of
        from hfllm.planning.text import plan_lines
        from hfllm.recipe.load import load_recipe
        from hfllm.stages import find_stages

        given = words or []
        loaded = load_recipe(recipe, find_stages(), [word for word in given if "=" in word])
        names = [word for word in given if "=" not in word]
        asked = Asked(device, count, mfu, probe)
        for line in plan_lines(plan_of(loaded, names, asked), price):
            print(line)
