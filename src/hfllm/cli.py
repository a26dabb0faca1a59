"""The command `hfllm`, one function per subcommand; heavy imports are inside the functions.

run RECIPE       run the missing and stale steps, in order
show RECIPE      print the resolved recipe and where each value comes from
eval MODEL       score one model on held-out tests
chat MODEL ...   talk to a model, or to several at once
serve MODEL      answer over HTTP, by OpenAI's API
import FILE OUT  convert a GGUF file into a transformers model folder
export MODEL     hand a model on: a GGUF file with an Ollama Modelfile, a folder, the hub
report RECIPE    build the run's HTML page
compare RUN RUN  several runs or steps side by side, paired
plan RECIPE      parameters, tokens, FLOPs, memory, time and money of its training steps
tokens TEXT      show how a tokenizer splits a text
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfllm.verbs.chat import chat
from hfllm.verbs.compare import compare
from hfllm.verbs.errors import at_least, clear_errors
from hfllm.verbs.export import export
from hfllm.verbs.plan import plan
from hfllm.verbs.serve import serve

if TYPE_CHECKING:
    from hfllm.recipe.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw text to an aligned chat model on the Hugging Face stack, from one recipe.",
)

app.command()(plan)
app.command()(compare)
app.command()(export)

RecipeArgument = Annotated[Path, typer.Argument(help="a YAML recipe, e.g. configs/demo.yaml")]
Overrides = Annotated[list[str] | None, typer.Argument(help="step.key=value ...")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"hfllm {version('hfllm')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print it and end")
    ] = False,
) -> None:
    """Raw text to an aligned chat model on the Hugging Face stack, from one recipe."""


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    """Load and check the recipe, with hfllm's stages and those of installed packages."""
    from hfllm.recipe.load import load_recipe
    from hfllm.stages import find_stages

    return load_recipe(path, find_stages(), overrides)


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    only: Annotated[str | None, typer.Option(help="this step alone, even if done")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="this step and those that depend on it")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="check, and print the plan; run nothing")] = False,
) -> None:
    """Run the missing and stale steps in order; print why each of the others is skipped."""
    with clear_errors():
        from hfllm.fast_cpu import switched_off
        from hfllm.runs.pipeline import run_recipe

        switched_off()  # a typo in HFLLM_SLOW would end the first step
        loaded = _load(recipe, overrides)
        todo = run_recipe(loaded, only=only, start=start, dry_run=dry_run)
        if dry_run:
            from hfllm.planning.ask import lines_of_run

            for line in lines_of_run(loaded, todo):
                print(line)


@app.command()
def show(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    step: Annotated[str | None, typer.Option(help="this step alone")] = None,
    everything: Annotated[bool, typer.Option("--all", help="library defaults too")] = False,
) -> None:
    """Check the recipe, and print its resolved values with where each comes from."""
    with clear_errors():
        from hfllm.recipe.show import show_recipe
        from hfllm.runs.quiet import quiet_libraries

        quiet_libraries()  # before transformers is imported
        from hfllm.runs.value_checks import check_values

        loaded = _load(recipe, overrides)
        names = [name for name in loaded.steps if step in (None, name)]
        check_values(loaded, names)
        from hfllm.recipe.trainers import check_trainers
        from hfllm.training.defaults import choose_defaults  # imports torch, which takes seconds

        check_trainers(loaded, names)
        choose_defaults(loaded, names)
        for line in show_recipe(loaded, step, everything):
            print(line)


@app.command("eval")
def evaluate(
    model: Annotated[
        str, typer.Argument(help="a folder (runs/demo/sft/model), a hub id or a .gguf file")
    ],
    tests: Annotated[list[Path] | None, typer.Option(help="JSONL of held-out questions")] = None,
    text: Annotated[list[Path] | None, typer.Option(help="documents for bits per byte")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many rows per file")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="longest answer, in tokens")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for results.json, samples.jsonl and items.jsonl")
    ] = None,
) -> None:
    """Score one model on held-out tests; print each score with n and a 95% interval."""
    with clear_errors():
        from hfllm.recipe.hub import require_model

        at_least(1, limit=limit, max_new_tokens=max_new_tokens)
        require_model(model)  # before torch is imported, which takes seconds
        from hfllm.evaluation.folder import evaluate_folder

        done = evaluate_folder(
            model, tests or [], text or [], limit=limit, max_new_tokens=max_new_tokens, out=out
        )
        print(done)


app.command()(chat)
app.command()(serve)


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="a model in one .gguf file")],
    out: Annotated[Path, typer.Argument(help="the folder to write")],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
) -> None:
    """Convert a GGUF file into a model folder: safetensors, tokenizer, chat template."""
    with clear_errors():
        from hfllm.runs.quiet import quiet_libraries

        if not file.is_file():
            raise ValueError(f"{file}: no such file; `hfllm import` reads one .gguf file")
        quiet_libraries()  # before transformers is imported
        from hfllm.modeling.gguf import import_gguf

        made = import_gguf(file, out, dtype)
        print(f"{out}: {'made from' if made else 'holds already'} {file}")


@app.command()
def report(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Build runs/NAME/report/index.html from the steps that have run so far."""
    with clear_errors():
        from hfllm.report.build import build_report

        loaded = _load(recipe, overrides)
        if not loaded.run_dir.is_dir():
            raise ValueError(f"{loaded.run_dir}: nothing has run yet; run `hfllm run {recipe}`")
        name = loaded.step_of_stage("report")
        page = loaded.steps[name].config if name else loaded.stages["report"].config()
        print(build_report(loaded.run_dir, loaded.stages, page.title, page.side_by_side))


@app.command()
def tokens(
    text: Annotated[str | None, typer.Argument(help="the text; default: standard input")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="a tokenizer's or model's folder, a step, a .gguf file, a hub id")
    ] = "runs/demo/tokenizer/tokenizer",
) -> None:
    """Show how a tokenizer splits a text: coloured tokens, ids, bytes per token."""
    with clear_errors():
        from hfllm.recipe.model_names import is_gguf
        from hfllm.tokenization.show import show_tokens

        if is_gguf(tokenizer):
            from hfllm.modeling.gguf_imports import as_folder

            tokenizer = as_folder(tokenizer)
        words = sys.stdin.read() if text is None else text
        print(show_tokens(words, tokenizer, color=sys.stdout.isatty()))
