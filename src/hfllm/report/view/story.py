"""The run in a paragraph and a row of tiles: every clause stands on a number of a manifest.

A clause whose number is missing is left out, never filled in; failed and missing steps are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from hfllm.report.collect import DONE, FAILED, NOT_RUN, RUNNING, Run, Step, parents, records
from hfllm.report.drawing.flow import Node
from hfllm.report.number_format import compact, duration, exact, number, percent, scientific, short
from hfllm.report.view.costs import Total
from hfllm.report.view.ledger_view import ledger_of
from hfllm.report.view.results import BETTER, WORSE, Row, Table

DATA_STAGES = ("world", "curate", "instructions", "tokenizer")
BPB = ("eval_bpb", "eval_bits_per_byte", "bits_per_byte", "bpb")
VOCABULARY = ("vocab_size", "vocabulary")
BYTES_PER_TOKEN = ("bytes_per_token", "heldout_bytes_per_token")
PARAMETERS = ("parameters", "n_parameters", "num_parameters", "model_parameters")
SCORE = ("objective/score", "score", "reward")


ALL = "all answers"
HEADLINES = {
    (ALL, "accuracy"): "Right answers, all questions",
    ("unknown people", "refused unanswerable"): "“I do not know” about unknown people",
}


@dataclass(frozen=True)
class Tile:
    """A figure with its name and where it is from."""

    value: str
    name: str
    source: str


def key_figure(step: Step) -> tuple[str, str]:
    """The one number that tells how a step went, and its unit; empty where there is none."""
    if step.stage == "curate" and step.ledger:
        return compact(ledger_of(step).total("kept")), "documents kept"
    if step.stage in ("world", "instructions"):
        counts = [k for k in step.section("metrics") if k.startswith("rows/")]
        rows = sum(step.metric(key) or 0 for key in counts)
        return (compact(rows), "rows") if rows else ("", "")
    wanted: dict[str, list[tuple[tuple[str, ...], str]]] = {
        "tokenizer": [(VOCABULARY, "vocabulary")],
        "pretrain": [(BPB, "bits per byte"), (("eval_loss", "loss"), "loss")],
        "sft": [(("eval_loss",), "held-out loss"), (("loss", "train_loss"), "loss")],
        "reward": [(("eval_accuracy",), "of pairs right"), (("accuracy",), "right in training")],
    }
    for keys, unit in wanted.get(step.stage, []):
        value = step.metric(*keys)
        if value is not None:
            show = exact if unit == "vocabulary" else percent if "right" in unit else short
            return show(value), unit
    if step.stage == "ppo":
        scores = _scores(step)
        return (short(scores[1]), "score of answers") if scores else ("", "")
    if step.results:
        return exact(len(records(step.results, "results"))), "values measured"
    return "", ""


def nodes(run: Run) -> list[Node]:
    """The steps as boxes of the picture."""
    return [
        Node(
            name=step.name,
            figure=figure or step.status,
            unit=unit,
            time=duration(step.figure("wall_s")) if step.figure("wall_s") else "",
            status=step.status,
            data=step.stage in DATA_STAGES,
            parents=parents(step),
        )
        for step in run.steps
        for figure, unit in [key_figure(step) if step.status == DONE else ("", "")]
    ]


def tiles(run: Run, found: list[Table], total: Total) -> list[Tile]:
    """Key figures of the steps that were done, the headline results, the cost."""
    out = []
    for step in run.steps:
        value, unit = key_figure(step)
        if step.status == DONE and value and step.stage not in ("world", "evaluate"):
            out.append(Tile(value, unit, step.name))
        parameters = step.metric(*PARAMETERS)
        if step.stage == "pretrain" and parameters and step.status == DONE:
            out.append(Tile(compact(parameters), "parameters", step.name))
    for table in found:
        for row, words in headlines(table):
            out.append(Tile(row.cells[-1].value, words, table.models[-1]))
    if total.trained:
        out.append(Tile(compact(total.trained), "tokens trained on", "all steps"))
    if total.flops:
        out.append(Tile(scientific(total.flops, 1), "FLOPs", "all steps"))
    if total.wall_s:
        out.append(Tile(duration(total.wall_s), "wall time", "all steps"))
    return out


def paragraphs(run: Run, found: list[Table], total: Total) -> list[str]:
    """What was made; what came out; what is missing and what it cost. Empty ones are left out."""
    made = []
    for step in run.steps:
        if step.status == DONE:
            made += _SENTENCES.get(step.stage, lambda _: [])(step)
    measured = [sentence for table in found for sentence in _changes(table)]
    return [" ".join(part) for part in (made, measured, _unfinished(run) + _cost(total)) if part]


def _cost(total: Total) -> list[str]:
    if not total.wall_s:
        return []
    hardware = f" on {total.hardware[0]}" if len(total.hardware) == 1 else ""
    flops = f" and {scientific(total.flops, 1)} FLOPs" if total.flops else ""
    return [f"Together the steps took {duration(total.wall_s)}{flops}{hardware}."]


def _curated(step: Step) -> list[str]:
    ledger = ledger_of(step)
    reasons = ledger.reasons()
    came, kept = ledger.total("in") - reasons.pop("where", 0), ledger.total("kept")  # as selected
    if not came:
        return []
    worst = next(iter(reasons.items()), None)
    reason = ""
    if worst and worst[1]:
        reason = (
            f"; most of what was dropped fell to “{worst[0].replace('_', ' ')}” ({exact(worst[1])})"
        )
    share = percent(kept / came)
    return [f"Of {exact(came)} raw documents, curation kept {exact(kept)} ({share}){reason}."]


def _tokenized(step: Step) -> list[str]:
    size, rate = step.metric(*VOCABULARY), step.metric(*BYTES_PER_TOKEN)
    if size is None:
        return []
    tail = f", one token for every {short(rate)} bytes of text" if rate else ""
    return [f"A tokenizer of {exact(size)} entries was trained on text of the run{tail}."]


def _pretrained(step: Step) -> list[str]:
    tokens, bpb = step.figure("tokens"), step.metric(*BPB)
    size = step.metric(*PARAMETERS)
    if not tokens:
        return []
    who = f"a model of {compact(size)} parameters" if size else "the model"
    tail = f" and reached {short(bpb)} bits per byte on held-out text" if bpb is not None else ""
    return [f"In {step.name}, {who} read {compact(tokens)} tokens{tail}."]


def _tuned(step: Step) -> list[str]:
    tokens, loss = step.figure("tokens"), step.metric("eval_loss")
    if not tokens:
        return []
    tail = f" (held-out loss {short(loss)})" if loss is not None else ""
    return [f"In {step.name}, it learned to answer from {compact(tokens)} tokens{tail}."]


def _rewarded(step: Step) -> list[str]:
    accuracy = step.metric("eval_accuracy")
    if accuracy is None:
        return []
    length = step.metric("length_baseline_accuracy")
    tail = f"; going by length alone finds it in {percent(length)}" if length is not None else ""
    share = f"{percent(accuracy)} of held-out pairs"
    return [f"A reward model ({step.name}) finds the better of two answers in {share}{tail}."]


def _reinforced(step: Step) -> list[str]:
    scores = _scores(step)
    if scores is None:
        return []
    where = (
        f"from {short(scores[0])} in the first tenth of the logs to {short(scores[1])} in the last"
    )
    return [f"In {step.name}, the score of its answers went {where}."]


def _scores(step: Step) -> tuple[float, float] | None:
    """Mean score of the answers in the first and in the last tenth of the logs."""
    for key in SCORE:
        scores = [row[key] for row in step.metrics if number(row.get(key)) is not None]
        if len(scores) > 1:
            tenth = max(1, len(scores) // 10)
            return fmean(scores[:tenth]), fmean(scores[-tenth:])
    return None


_SENTENCES = {
    "curate": _curated,
    "tokenizer": _tokenized,
    "pretrain": _pretrained,
    "sft": _tuned,
    "reward": _rewarded,
    "ppo": _reinforced,
}


def _changes(table: Table) -> list[str]:
    """The headline measures through the models, then what each changed against the one before."""
    if len(table.models) < 2:
        return []
    out = []
    for row, words in headlines(table):
        chain = [f"{c.value} ({m})" for m, c in zip(table.models, row.cells, strict=True)]
        out.append(f"{words}: {', '.join(chain)}.")
    counts = [
        f"{model} is better than {table.models[i]} in {table.marked(i + 1, BETTER)} and worse in "
        f"{table.marked(i + 1, WORSE)} of {len(table.rows)} measures"
        for i, model in enumerate(table.models[1:])
    ]
    return [*out, f"Counting only differences beyond the 95% intervals, {'; '.join(counts)}."]


def headlines(table: Table) -> list[tuple[Row, str]]:
    """The rows that sum a table up, with their names in words."""
    by_key = {(row.task, row.metric): row for row in table.rows}
    keys = {(table.whole if key[0] == ALL else key[0], key[1]): w for key, w in HEADLINES.items()}
    return [(by_key[key], words) for key, words in keys.items() if key in by_key]


def _unfinished(run: Run) -> list[str]:
    out = [f"Step {s.name} failed: {s.error}." for s in run.steps if s.status == FAILED]
    out += [f"Step {s.name} has no recorded end." for s in run.steps if s.status == RUNNING]
    missing = [s.name for s in run.steps if s.status == NOT_RUN]
    return out + ([f"Not run: {', '.join(missing)}."] if missing else [])
