"""Tokenizer: train a byte-level BPE tokenizer with hfllm's chat template on the run's text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfllm.recipe.stage import TOKENIZER, Figure, Stage
from hfllm.report.collect import StepView
from hfllm.report.number_format import exact, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.tokenization.config import TokenizerConfig, config_problems

if TYPE_CHECKING:
    from hfllm.data.ledger import Ledger

REPORT_BYTES = 1_000_000  # bytes of text per source on which bytes per token are measured


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no documents."""
    from hfllm.data.reading.first_rows import first_rows as read

    yield from read(step, {"data": "texts"})[1]


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The size of the vocabulary."""
    size = view.metric("vocab_size")
    return () if size is None else (exact(size), "vocabulary")


def sentence(view: StepView) -> str:
    """The size of the vocabulary, and bytes per token."""
    size, rate = view.metric("vocab_size"), view.metric("bytes_per_token")
    if size is None:
        return ""
    tail = f", one token for every {short(rate)} bytes of text" if rate else ""
    return f"A tokenizer of {exact(size)} entries was trained on text of the run{tail}."


STAGE = Stage(
    config=TokenizerConfig,
    makes=TOKENIZER,
    check=lambda spec: config_problems(spec.config),
    first_rows=first_rows,
    key_figure=key_figure,
    sentence=sentence,
)


def run(config: TokenizerConfig, step: Step, manifest: Manifest) -> None:
    """Train and save the tokenizer; measure bytes per token on the text of each source."""
    from hfllm.data.ledger import Ledger
    from hfllm.data.reading.account import account
    from hfllm.tokenization.report import bytes_per_token
    from hfllm.tokenization.train import train_tokenizer

    samples: dict[str, list[str]] = {}
    ledger = Ledger()
    tokenizer = train_tokenizer(_texts(config, step, samples, ledger), config)
    ledger.check()
    account(ledger, config.data)
    manifest.ledger = ledger.to_json()
    tokenizer.save_pretrained(step.tokenizer)
    manifest.metrics["vocab_size"] = len(tokenizer)
    everything = [text for texts in samples.values() for text in texts]
    manifest.metrics["bytes_per_token"] = round(bytes_per_token(tokenizer, everything), 4)
    print(f"  vocabulary {len(tokenizer):,}")
    for source, texts in sorted(samples.items()):
        ratio = round(bytes_per_token(tokenizer, texts), 4)
        manifest.metrics[f"bytes_per_token/{source}"] = ratio
        print(f"  {source:<20} {ratio:.2f} bytes per token")


def _texts(
    config: TokenizerConfig, step: Step, samples: dict[str, list[str]], ledger: Ledger
) -> Iterator[str]:
    """Yield all texts; copy the first megabyte of each source into `samples`."""
    from hfllm.data.reading.examples import read_texts

    sizes: dict[str, int] = {}
    for row in read_texts(config.data, step.data_of, ledger):
        ledger.keep(row)
        source = str(row["source"])
        if sizes.get(source, 0) < REPORT_BYTES:
            samples.setdefault(source, []).append(row["text"])
            sizes[source] = sizes.get(source, 0) + len(row["text"].encode())
        yield row["text"]
