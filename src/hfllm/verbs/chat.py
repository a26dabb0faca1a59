"""`hfllm chat`: talk to a model, or to several at once."""

from __future__ import annotations

from typing import Annotated

import typer

from hfllm.verbs.errors import at_least, clear_errors


def chat(
    models: Annotated[
        list[str],
        typer.Argument(help="folders (runs/demo/ppo/model), hub ids or .gguf files"),
    ],
    system: Annotated[str | None, typer.Option(help="system prompt")] = None,
    temperature: Annotated[float, typer.Option(help="0: greedy decoding")] = 0.0,
    top_p: Annotated[float, typer.Option(help="likeliest tokens up to this probability")] = 1.0,
    top_k: Annotated[int, typer.Option(help="so many likeliest tokens; 0: all")] = 0,
    min_p: Annotated[float, typer.Option(help="at least this share of the likeliest's")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="1: none; of seen tokens")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="longest answer, in tokens")] = 256,
    plain: Annotated[bool, typer.Option(help="continue text: for base models")] = False,
) -> None:
    """Talk to a model; if standard input is not a terminal, each of its lines is a question."""
    with clear_errors():
        from hfllm.recipe.hub import require_model

        at_least(0, temperature=temperature, top_k=top_k)
        at_least(1, max_new_tokens=max_new_tokens)
        check_sampling(temperature, top_p, top_k, min_p, repetition_penalty)
        for at, model in enumerate(models):
            if model in models[:at]:
                raise ValueError(f"{model}: is named twice")
            require_model(model)  # before torch is imported, which takes seconds
        from hfllm.runs.quiet import quiet_libraries

        quiet_libraries()  # before transformers is imported
        from hfllm.inference.chat import chat_loop
        from hfllm.inference.sampling import Sampling

        sampling = Sampling(temperature, top_p, top_k, min_p, repetition_penalty=repetition_penalty)
        chat_loop(
            models, system=system, sampling=sampling, max_new_tokens=max_new_tokens, plain=plain
        )


def check_sampling(
    temperature: float, top_p: float, top_k: int, min_p: float, repetition_penalty: float
) -> None:
    """Refuse values out of range, and limits that greedy decoding would pass over."""
    if not 0 < top_p <= 1:
        raise ValueError(f"--top-p: {top_p} is not above 0 and at most 1")
    if not 0 <= min_p <= 1:
        raise ValueError(f"--min-p: {min_p} is not from 0 to 1")
    if not 0 < repetition_penalty < float("inf"):
        raise ValueError(f"--repetition-penalty: {repetition_penalty} is not above 0")
    for name, is_set in (("top-p", top_p < 1), ("top-k", top_k > 0), ("min-p", min_p > 0)):
        if is_set and not temperature:
            raise ValueError(f"--{name}: has no effect on greedy decoding; add --temperature 0.7")
