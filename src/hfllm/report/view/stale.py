"""Steps whose folder or parents are no longer what they were when the step ended.

The page and the cards are made of whatever lies in a run folder, also after a step in it was made
again, copied over or edited. Each manifest says which version of its parents the step read (their
fingerprints, and those of what they wrote) and what its own files held.
"""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.report.collect import DONE, Run, StepView
from hfllm.runs.fingerprint import known_digest

READ_BY_THE_PAGE = ("results.json", "samples.jsonl", "data/curation.json")  # they are small


def stale(run: Run) -> list[tuple[str, str]]:
    """(step, why it is stale), at most once for each parent and each file."""
    known = {step.name: step for step in run.steps if step.manifest}
    return [
        (step.name, f"stale: {why}")
        for step in run.steps
        for why in (*_other_parents(step, known), *_changed_files(run, step))
    ]


def _other_parents(step: StepView, known: dict[str, StepView]) -> Iterator[str]:
    read = step.section("parent_artifacts")  # empty in a manifest of an early version
    for name, made_from in step.section("parents").items():
        if name not in known:
            continue
        now, artifact = known[name].manifest.get("fingerprint"), known[name].section("artifact")
        before = read.get(name)
        if isinstance(before, dict) and before:  # the same bytes are the same version
            other = any(artifact.get(kind, mark) != mark for kind, mark in before.items())
        else:
            other = now != made_from
        if other:
            yield f"made from another version of {name}"


def _changed_files(run: Run, step: StepView) -> Iterator[str]:
    written = step.section("digests")
    for name in READ_BY_THE_PAGE if step.status == DONE else ():
        path = run.folder / step.name / name
        if name in written and not path.is_file():
            yield f"{name} is gone"
        elif name in written and known_digest(path) != written[name]:
            yield f"{name} has other bytes than the step wrote"
