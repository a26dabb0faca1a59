"""Fill the tables of results in README.md and docs/ from run folders, and say which are old.

    python tools/results.py RUN... --block NAME [--into FILE]   write a block (docs/results.yaml)
    python tools/results.py --check                             compare blocks with their recipes

A block stands between `<!-- results:NAME ... -->` and `<!-- /results:NAME -->`. The first marker of
a written block records its runs as JSON: the command's overrides, the commit, and the fingerprint
of the config of every step that the results depend on. `--check` computes these again from the
recipe as it is now, reads no run folder and no data, and exits with 1 if a block is older than its
recipe or was never written by this command.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from hfllm.evaluation.measure import SHARE, measure_of
from hfllm.recipe.load import load_recipe
from hfllm.report.card import lineage
from hfllm.report.collect import Run, StepView, read_run, records
from hfllm.report.number_format import duration
from hfllm.report.view.costs import total_of
from hfllm.report.view.stale import stale
from hfllm.runs.fingerprint import config_fingerprint
from hfllm.stages import find_stages

ROOT = Path(__file__).parents[1]
SPECS = "docs/results.yaml"
STAGES = find_stages()
Result = dict[str, Any]


def main(words: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--block", help=f"a block of {SPECS}")
    parser.add_argument("--into", type=Path, help="the file that holds the block")
    parser.add_argument("--check", action="store_true", help="say which blocks are old")
    given = parser.parse_args(words)
    try:
        specs = yaml.safe_load((ROOT / SPECS).read_text(encoding="utf-8"))
        if given.check:
            return check(specs)
        if not given.runs or given.block not in specs:
            raise ValueError(f"--block: one of {', '.join(specs)}, and run folders before it")
        spec = specs[given.block]
        path = given.into or ROOT / spec["file"]
        path.write_text(filled(path, given.block, spec, given.runs), encoding="utf-8")
        print(f"{path}: block {given.block} from {', '.join(map(str, given.runs))}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def filled(path: Path, name: str, spec: dict[str, Any], folders: list[Path]) -> str:
    """The text of the file with the block made anew from the runs.

    Args:
        path: the file.
        name: of the block.
        spec: its entry in docs/results.yaml.
        folders: one run folder, or several where `columns` is `runs`.
    """
    if spec["columns"] != "runs" and len(folders) != 1:
        raise ValueError(f"block {name}: its columns are models, so give one run folder")
    runs = [read_run(folder, STAGES) for folder in folders]
    for run in runs:
        of = str(evaluation_of(run).manifest.get("recipe"))
        if Path(of).name != Path(spec["recipe"]).name:
            raise ValueError(f"{run.folder}: a run of {of}; block {name} is of {spec['recipe']}")
        refuse_stale(run)
    origins = [origin(run) for run in runs]
    marks = json.dumps({"recipe": spec["recipe"], "runs": origins})
    body = f"{table(spec, runs)}\n{provenance(spec, runs, origins)}\n"
    text = path.read_text(encoding="utf-8")
    block = re.compile(rf"<!-- results:{name}\b.*?-->\n.*?<!-- /results:{name} -->", re.DOTALL)
    if not block.search(text):
        raise ValueError(f"{path}: no block <!-- results:{name} --> … <!-- /results:{name} -->")
    new = f"<!-- results:{name} {marks} -->\n{body}<!-- /results:{name} -->"
    return block.sub(lambda _: new, text)


def evaluation_of(run: Run) -> StepView:
    """The last step of a run with results; ValueError if there is none, or it is not done."""
    found = [step for step in run.steps if step.results and step.status == "done"]
    if not found:
        raise ValueError(f"{run.folder}: no finished evaluation; run the recipe to its end")
    return found[-1]


def refuse_stale(run: Run) -> None:
    """Raise ValueError if the results are not those of the steps that lie in the run folder."""
    needed = steps_behind(run)
    if found := [f"{name} is {why}" for name, why in stale(run) if name in needed]:
        raise ValueError(f"{run.folder}: {'; '.join(found)}; run the recipe again")


def steps_behind(run: Run) -> set[str]:
    """Names of the evaluation and of all steps that it was made from."""
    return {step.name for step in lineage(run, evaluation_of(run))}


def origin(run: Run) -> dict[str, Any]:
    """What a block records of a run: overrides, commit, fingerprints of its steps' configs."""
    step = evaluation_of(run)
    needed = steps_behind(run)
    git = step.section("git")
    return {
        "overrides": step.manifest.get("overrides"),  # None: of a version that kept none
        "commit": str(git.get("commit", "unknown")) + ("+changes" if git.get("dirty") else ""),
        "steps": {s.name: s.manifest["config_fingerprint"] for s in run.steps if s.name in needed},
    }


def table(spec: dict[str, Any], runs: list[Run]) -> str:
    """The block's table in Markdown; rows without any value are left out."""
    by_run = spec["columns"] == "runs"
    heads = [f"seed {evaluation_of(run).manifest['seed']}" for run in runs]
    heads = heads if by_run else [*spec["columns"].values(), "n"]
    lines = [["", *heads], ["---", *["---:"] * len(heads)]]
    for name, key in spec["rows"].items():
        *model, task, metric = key.split()
        whose = (
            [(run, model) for run in runs] if by_run else [(runs[0], [m]) for m in spec["columns"]]
        )
        found = [find(run, who, task, metric) for run, who in whose]
        if any(found):
            n = {f"{result['n']:,}" for result in found if result}
            shown = [cell(result, signed=len(model) > 1) for result in found]
            lines.append([name, *shown, *([] if by_run else [" / ".join(sorted(n))])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def find(run: Run, model: list[str], task: str, metric: str) -> Result | None:
    """One result, or the paired difference if `model` is [MODEL, "-", BASELINE]."""
    wanted = {"model": model[0], "task": task, "metric": metric}
    if len(model) > 1:
        wanted["baseline"] = model[2]
    rows = records(evaluation_of(run).results, "differences" if len(model) > 1 else "results")
    return next((row for row in rows if all(row.get(k) == v for k, v in wanted.items())), None)


def cell(result: Result | None, signed: bool = False) -> str:
    """A value with its 95% interval: shares in percent, others with two decimals."""
    if result is None:
        return "–"
    share = measure_of(result["metric"]).unit == SHARE
    form = ("{:+" if signed else "{:") + (".0f}" if share else ".2f}")
    value, low, high = (
        form.format(100 * v if share else v)
        for v in map(result.__getitem__, ("value", "low", "high"))
    )
    unit = " points" if share and signed else "%" if share else ""
    return f"{value}{unit} [{low}, {high}]"


def provenance(spec: dict[str, Any], runs: list[Run], origins: list[dict[str, Any]]) -> str:
    """One line per run on when, where and by what command the figures were made."""
    lines = []
    for run, known in zip(runs, origins, strict=True):
        step, total = evaluation_of(run), total_of(run)
        command = " ".join(["hfllm run", spec["recipe"], *public(known["overrides"] or [])])
        unknown = " (its overrides are not recorded)" if known["overrides"] is None else ""
        date = str(step.manifest["started"])[:10]
        changes = ", with changes" if known["commit"].endswith("+changes") else ""
        machine = "; ".join(total.hardware) or "machine not recorded"
        lines.append(
            f"`{command}`{unknown}, {date}, commit {known['commit'][:8]}{changes}; {machine}; "
            f"{duration(total.wall_s)}."
        )
    return "\n".join(lines)


def public(overrides: list[str]) -> list[str]:
    """The overrides that change the results: not those that only say where the run lies."""
    return [item for item in overrides if not item.startswith(("run_dir=", "name="))]


def check(specs: dict[str, Any]) -> int:
    """Print the state of every block; 1 if one is older than its recipe or was written by hand."""
    old = 0
    for name, spec in specs.items():
        text = (ROOT / spec["file"]).read_text(encoding="utf-8")
        mark = re.search(rf"<!-- results:{name}\b(.*?)-->", text)
        if mark is None:
            raise ValueError(f"{spec['file']}: no block <!-- results:{name} -->")
        words = (
            state(json.loads(mark[1])) if mark[1].strip() else "written by hand: no run is known"
        )
        old += words != "as its recipe is now"
        print(f"{spec['file']}, {name}: {words}")
    return 1 if old else 0


def state(known: dict[str, Any]) -> str:
    """Whether a block is older than its recipe, and which steps changed."""
    for run in known["runs"]:
        if run["overrides"] is None:
            return "its run's overrides are not recorded; run the recipe again"
        recipe = load_recipe(ROOT / known["recipe"], STAGES, run["overrides"])
        now = {name: config_fingerprint(recipe, name) for name in recipe.steps}
        changed = [name for name, mark in run["steps"].items() if now.get(name) != mark]
        if changed:
            since = commits_since(run["commit"])
            return f"older than its recipe: {', '.join(changed)} changed{since}"
    return "as its recipe is now"


def commits_since(commit: str) -> str:
    """How many commits to src/ followed, in words; empty if git does not know the commit."""
    words = ("git", "-C", str(ROOT), "rev-list", "--count", f"{commit.split('+')[0]}..HEAD", "src")
    done = subprocess.run(words, capture_output=True, text=True)
    return f" ({done.stdout.strip()} commits to src since)" if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
