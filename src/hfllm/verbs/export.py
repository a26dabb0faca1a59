"""`hfllm export`: hand a model on, as a GGUF file, a model folder, or to the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from hfllm.verbs.errors import clear_errors


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="a folder (runs/demo/sft/model), a run's step, a hub id or a .gguf file"
        ),
    ],
    to: Annotated[str, typer.Option(help="gguf, folder, vllm or hub")],
    out: Annotated[str, typer.Option(help="a .gguf file or folder; hub: OWNER/NAME")],
    dtype: Annotated[
        str | None, typer.Option(help="f32, bf16, f16; gguf also q8_0, q5_1, q5_0, q4_1, q4_0")
    ] = None,
    force: Annotated[bool, typer.Option(help="replace what is there")] = False,
    check: Annotated[bool, typer.Option(help="read it back and compare its logits")] = True,
    adapter: Annotated[
        str, typer.Option(help="merged, or apart: the adapter alone, for its base model")
    ] = "merged",
    dry_run: Annotated[bool, typer.Option(help="hub: say what would be sent")] = False,
    public: Annotated[bool, typer.Option(help="hub: for everybody; else private")] = False,
    lm_studio: Annotated[
        str | None, typer.Option(help="gguf: PUBLISHER/MODEL below LM Studio's folder --out")
    ] = None,
) -> None:
    """Hand a model on: a GGUF file with an Ollama Modelfile, a folder, or to the hub."""
    with clear_errors():
        from hfllm.export.request import Request
        from hfllm.recipe.hub import require_model
        from hfllm.runs.quiet import quiet_libraries

        request = Request(model, to, out, dtype, force, check, adapter, dry_run, public, lm_studio)
        require_model(model)  # before torch is imported, which takes seconds
        quiet_libraries()  # before transformers is imported
        from hfllm.export.run import export as export_model
        from hfllm.stages import find_stages

        for line in export_model(request, find_stages()):
            print(line, flush=True)
