"""Expected calibration error: mean distance of confidence from accuracy over bins."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = """
Answers are sorted into equal bins of confidence; in each, |accuracy - mean confidence| is weighted
by its share of the answers. Biased upwards for few answers: compare models on the same rows.
"""
INPUTS = """
predictions: confidence of each answer, in [0, 1]
references: 1 where the answer is right, else 0
bins: number of equal bins (10)
Returns ece, confidence (mean) and accuracy.
"""
CITATION = "Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599)"


class Ece(evaluate.Metric):
    """sum over bins of (n_bin / n) * |accuracy_bin - confidence_bin|."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self, predictions: list[float], references: list[int], bins: int = 10
    ) -> dict[str, float]:
        confidence, right = np.asarray(predictions), np.asarray(references)
        if confidence.min() < 0 or confidence.max() > 1:
            raise ValueError("ece takes confidences in [0, 1], not log-likelihoods")
        # (lower, upper], with 0 in the first bin: a confidence of 1 belongs to the last
        which = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1)
        gaps = np.bincount(which.astype(int), weights=right - confidence, minlength=bins)
        return {
            "ece": float(np.abs(gaps).sum() / len(confidence)),
            "confidence": float(confidence.mean()),
            "accuracy": float(right.mean()),
        }
