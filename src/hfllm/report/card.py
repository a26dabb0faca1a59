"""The model card (README.md in the Hugging Face format) of a step's model/ folder.

Its content comes from the manifests of the step and of the steps that it was made from, and from
the results of the run's evaluation, if there are any. Unknown values are stated as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfllm.recipe.stage import REWARD_MODEL, Stages
from hfllm.report.collect import Run, StepView, parents, read_run, records
from hfllm.report.markdown import md_table, result_table, safe
from hfllm.report.number_format import compact, duration, exact, scientific
from hfllm.report.view.base_model import Base, base_of, bases
from hfllm.report.view.costs import expectations, hardware_of
from hfllm.report.view.ledger_view import conservation_problems
from hfllm.report.view.results import tables
from hfllm.report.view.stale import stale

LIMITS = (
    "It may state false things with confidence; only the tests above, if there are any, say how "
    "often, and nothing about other questions.",
    "It has not been tested for safety, bias or privacy beyond the filters of its data.",
)


def model_card(
    step_dir: Path, stages: Stages, licence: str | None = None, credits: Sequence[str] = ()
) -> str:
    """The model card of one step's model, as Markdown.

    Args:
        step_dir: folder of the step, runs/NAME/STEP.
        stages: the stages of the run's steps.
        licence: a Hugging Face licence id ("apache-2.0"); None: no licence line, which the hub
            shows as unknown.
        credits: lines about the origin of the training data.

    Raises:
        ValueError: the step has no manifest.
    """
    run = read_run(step_dir.parent, stages)
    step = next((s for s in run.steps if s.name == step_dir.name and s.manifest), None)
    if step is None:
        raise ValueError(f"{step_dir}: no manifest, so no model card; run the step first")
    made_from = bases(lineage(run, step))
    parts = [_head(step, licence, base_of(run, step)), _intro(run, step), _base(made_from)]
    parts += [_data(run, step), _credits(credits)]
    parts += [_settings(step), _results(run, step), _limits(step), _provenance(step)]
    return "\n".join(part for part in parts if part)


def lineage(run: Run, step: StepView) -> list[StepView]:
    """The step and all steps that it was made from, in running order."""
    known = {s.name: s for s in run.steps}
    wanted, waiting = {step.name}, [step]
    while waiting:
        for name in parents(waiting.pop()):
            if name in known and name not in wanted:
                wanted.add(name)
                waiting.append(known[name])
    return [s for s in run.steps if s.name in wanted]


def _head(step: StepView, licence: Any, base: Base | None) -> str:
    task = "text-classification" if step.stage.makes == REWARD_MODEL else "text-generation"
    lines = ["---", "library_name: transformers", f"pipeline_tag: {task}"]
    lines += ["tags:", "- hfllm", f"- {json.dumps(step.stage.name)}"]
    if base and base.is_hub_id:
        lines.append(f"base_model: {json.dumps(base.reference)}")
    if licence:
        lines.append(f"license: {json.dumps(str(licence))}")
    return "\n".join([*lines, "---", ""])


def _intro(run: Run, step: StepView) -> str:
    size = step.metric("parameters")
    words = f"A model of {compact(size)} parameters, made" if size else "Made"
    path = " → ".join(safe(s.name) for s in lineage(run, step))
    code = "" if step.stage.makes == REWARD_MODEL else _usage(step)
    return f"# {safe(run.name)} / {safe(step.name)}\n\n{words} by hfllm: {path}.\n{code}"


def _usage(step: StepView) -> str:
    prompt = '[{"role": "user", "content": "Hello"}]' if step.stage.chat else '"Once upon a time"'
    return (
        "\n```python\nfrom transformers import pipeline\n\n"
        'generate = pipeline("text-generation", "PATH/TO/THIS/FOLDER")\n'
        f"print(generate({prompt}))\n```\n"
    )


def _base(made_from: list[Base]) -> str:
    lines = "".join(f"- {_base_line(base)}\n" for base in made_from)
    return f"## Base model\n\n{lines}" if lines else ""


def _base_line(base: Base) -> str:
    """Author, licence and source file of a base model, in one line."""
    parts = [f"`{safe(base.reference)}`"]
    for key, words in (("name", ""), ("source", "by "), ("file", "from ")):
        if base.known.get(key):
            parts.append(words + safe(base.known[key]))
    if base.known.get("quantization"):
        parts.append(f"quantised as {safe(base.known['quantization'])}")
    if base.made_from:
        return f"{parts[0]}, made from {_base_line(base.made_from)}"
    licence = base.known.get("license")
    end = f"licence {safe(licence)}" if licence else "its licence is not recorded: look it up"
    return ", ".join([*parts, end])


def _data(run: Run, step: StepView) -> str:
    rows = []
    for made in lineage(run, step):
        ledger = made.counts
        for source in dict.fromkeys(source for source, _ in ledger.rows):
            came, kept = (ledger.rows.get((source, bucket), {}) for bucket in ("in", "kept"))
            sizes = [
                exact(row.get(unit, 0)) for unit in ("documents", "tokens") for row in (came, kept)
            ]
            rows.append([made.name, source, *sizes])
    if not rows:
        return "## Data\n\nNot recorded.\n"
    problems = [p for made in lineage(run, step) for p in conservation_problems(made.counts)]
    verdict = (
        "Not conserved: " + safe("; ".join(problems)) if problems else "The sums are conserved."
    )
    heads = ["Step", "Source", "Documents in", "kept", "Tokens in", "kept"]
    return f"## Data\n\n{md_table(heads, rows, 2)}\n{verdict}\n"


def _credits(credits: Sequence[str]) -> str:
    lines = "".join(f"- {safe(line)}\n" for line in credits)
    return f"## Whose data\n\n{lines}" if lines else ""


def _settings(step: StepView) -> str:
    config = step.section("config")
    trainer = config.get("trainer")
    rows = sorted(trainer.items()) if isinstance(trainer, dict) else []
    rows = [("init", config["init"]), *rows] if config.get("init") else rows
    trained = [
        ("tokens trained on", exact(step.figure("tokens"))),
        ("seed", step.manifest.get("seed")),
    ]
    trained += [("FLOPs", scientific(step.figure("flops"))), ("hardware", hardware_of(step))]
    trained += [("wall time", duration(step.figure("wall_s")))]
    trained += [
        (f"expected {row['what']} (measured)", f"{row['predicted']} ({row['measured']})")
        for row in expectations(step)
    ]
    known = [(key, value) for key, value in [*rows, *trained] if value not in (None, "")]
    method = f"{safe(step.stage.method)}\n\n" if step.stage.method else ""
    return f"## Training\n\n{method}" + md_table(["Setting", "Value"], known, 2)


def _results(run: Run, step: StepView) -> str:
    found = [table for table in tables(run) if step.name in table.models]
    if not found:
        return "## Results\n\nNot evaluated yet.\n"
    names = {one.name for one in run.steps if one.results} | {step.name}
    doubts = [f"{safe(name)} is {safe(why)}" for name, why in stale(run) if name in names]
    doubt = f"Not certain to be of these weights: {'; '.join(doubts)}.\n" if doubts else ""
    return "\n".join([*(result_table(table) for table in found), *([doubt] if doubt else [])])


def _limits(step: StepView) -> str:
    tokens = step.figure("tokens")
    first = [f"It was trained on {compact(tokens)} tokens in this step."] if tokens else []
    notes = [safe(note) for note in step.notes]
    sources = records(step.section("config").get("data") or {}, "mixture")
    hubs = [safe(s["hub"]) for s in sources if s.get("hub")]
    licences = [f"Its data come from {', '.join(hubs)}; their licences apply."] if hubs else []
    lines = [f"- {line}" for line in [*first, *LIMITS, *licences, *notes]]
    return "## Limitations\n\n" + "\n".join(lines) + "\n"


def _provenance(step: StepView) -> str:
    prints = {"step": step.manifest.get("fingerprint"), **step.section("artifact")}
    commit = step.section("git").get("commit")
    lines = [f"- fingerprint of the {safe(k)}: `{safe(v)}`" for k, v in prints.items() if v]
    lines += [f"- hfllm commit: `{safe(commit)}`"] if commit else []
    versions = ", ".join(f"{name} {value}" for name, value in step.section("versions").items())
    lines += [f"- versions: {safe(versions)}"] if versions else []
    return "## Provenance\n\n" + "\n".join(lines) + "\n"
