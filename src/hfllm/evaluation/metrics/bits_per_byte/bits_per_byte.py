"""Bits per byte: cross-entropy that can be compared between tokenizers."""

import math

import datasets
import evaluate

DESCRIPTION = """
Sum of the negative log-likelihoods of all documents, in bits, over the sum of their UTF-8 bytes.
Perplexity per token falls when tokens get shorter; bits per byte does not see the tokenizer.
"""
INPUTS = """
predictions: negative log-likelihood of each document, in nats
references: length of each document, in bytes
Returns bits_per_byte.
"""


class BitsPerByte(evaluate.Metric):
    """sum(nats) / (ln 2 * sum(bytes))."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        if not sum(references):
            raise ValueError("bits_per_byte of no bytes: give documents that are not empty")
        return {"bits_per_byte": sum(predictions) / (math.log(2) * sum(references))}
