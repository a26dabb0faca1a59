"""The command `hfllm`. Nothing heavy is imported before a verb needs it.

run RECIPE      the missing and stale steps, in order
show RECIPE     the resolved recipe and where each value comes from
eval MODEL      held-out tests of one model
chat MODEL      talk to it
import FILE OUT  write a GGUF file as an ordinary model folder
report RECIPE   build the run's page
tokens TEXT     how a tokenizer cuts a text
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hfllm.recipe.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw text to an aligned chat model on the Hugging Face stack, from one recipe.",
)

RecipeArgument = Annotated[Path, typer.Argument(help="a YAML recipe, e.g. configs/demo.yaml")]
Overrides = Annotated[list[str] | None, typer.Argument(help="step.key=value ...")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """A user's mistake ends with its one line (or one line per problem) and exit code 1."""
    try:
        yield
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None
    except KeyboardInterrupt:
        print("interrupted; rerun the same command to resume", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError as error:
        if error.errno != 28:
            raise
        print(f"error: the disk is full ({error.filename}); free some, run again", file=sys.stderr)
        raise typer.Exit(1) from None


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    """The recipe, checked, with the stages there are."""
    from hfllm.recipe.load import load_recipe
    from hfllm.stages import find_stages

    return load_recipe(path, find_stages(), overrides)


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    only: Annotated[str | None, typer.Option(help="this step alone, even if done")] = None,
    start: Annotated[str | None, typer.Option("--from", help="this step and all after it")] = None,
    dry_run: Annotated[bool, typer.Option(help="say what would run, and check it")] = False,
) -> None:
    """Run what is missing or stale, in order; finished steps are skipped with the reason."""
    with clear_errors():
        from hfllm.runs.pipeline import run_recipe

        run_recipe(_load(recipe, overrides), only=only, start=start, dry_run=dry_run)


@app.command()
def show(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    step: Annotated[str | None, typer.Option(help="this step alone")] = None,
    everything: Annotated[bool, typer.Option("--all", help="library defaults too")] = False,
) -> None:
    """Print the resolved recipe and where each value comes from, after checking all of it."""
    with clear_errors():
        from hfllm.recipe.show import show_recipe

        for line in show_recipe(_load(recipe, overrides), step, everything):
            print(line)


@app.command("eval")
def evaluate(
    model: Annotated[
        str, typer.Argument(help="a folder (runs/demo/sft/model), a hub id or a .gguf file")
    ],
    tests: Annotated[list[Path] | None, typer.Option(help="JSONL of held-out questions")] = None,
    text: Annotated[list[Path] | None, typer.Option(help="documents for bits per byte")] = None,
    limit: Annotated[int | None, typer.Option(help="rows per file at most")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="tokens of an answer at most")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for results.json and its rows")] = None,
) -> None:
    """Score one model on held-out tests, each figure with n and a 95% interval."""
    with clear_errors():
        from hfllm.evaluation.folder import evaluate_folder

        done = evaluate_folder(
            model, tests or [], text or [], limit=limit, max_new_tokens=max_new_tokens, out=out
        )
        print(done)


@app.command()
def chat(
    model: Annotated[
        str, typer.Argument(help="a folder (runs/demo/ppo/model), a hub id or a .gguf file")
    ],
    system: Annotated[str | None, typer.Option(help="system prompt")] = None,
    temperature: Annotated[float, typer.Option(help="0: the likeliest token each time")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help="longest answer")] = 256,
    plain: Annotated[bool, typer.Option(help="continue text: for base models")] = False,
) -> None:
    """Talk to a model; reads questions from standard input where that is no terminal."""
    with clear_errors():
        from hfllm.inference.chat import chat_loop

        chat_loop(
            model,
            system=system,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            plain=plain,
        )


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="a model in one .gguf file")],
    out: Annotated[Path, typer.Argument(help="the folder to write")],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
) -> None:
    """Write a GGUF file as an ordinary model folder: safetensors, tokenizer, template."""
    with clear_errors():
        from hfllm.runs.quiet import quiet_libraries

        quiet_libraries()  # before transformers is imported
        from hfllm.modeling.gguf import import_gguf

        made = import_gguf(file, out, dtype)
        print(f"{out}: {'made from' if made else 'holds already'} {file}")


@app.command()
def report(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Build runs/NAME/report/index.html from whatever the run folder holds."""
    with clear_errors():
        from hfllm.report.build import build_report

        loaded = _load(recipe, overrides)
        if not loaded.run_dir.is_dir():
            raise ValueError(f"{loaded.run_dir}: nothing has run yet; run `hfllm run {recipe}`")
        said = loaded.step_of_stage("report")
        page = loaded.steps[said].config if said else loaded.stages["report"].config()
        print(build_report(loaded.run_dir, loaded.stages, page.title, page.side_by_side))


@app.command()
def tokens(
    text: Annotated[str | None, typer.Argument(help="the text; default: standard input")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="a tokenizer's or model's folder, a step, a .gguf file, a hub id")
    ] = "runs/demo/tokenizer/tokenizer",
) -> None:
    """Show how a tokenizer cuts a text: coloured tokens, ids, bytes per token."""
    with clear_errors():
        from hfllm.recipe.model_names import is_gguf
        from hfllm.tokenization.show import show_tokens

        if is_gguf(tokenizer):
            from hfllm.modeling.gguf import as_folder

            tokenizer = as_folder(tokenizer)
        words = sys.stdin.read() if text is None else text
        print(show_tokens(words, tokenizer, color=sys.stdout.isatty()))
