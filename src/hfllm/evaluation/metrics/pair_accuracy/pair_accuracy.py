"""Pair accuracy: how often a reward model scores the chosen answer above the rejected one."""

import datasets
import evaluate

DESCRIPTION = """
Share of pairs whose chosen answer has the higher score; a tie counts half, as a coin would.
"""
INPUTS = """
predictions: score of each chosen answer
references: score of each rejected answer
Returns accuracy and ties (share).
"""


class PairAccuracy(evaluate.Metric):
    """mean(chosen > rejected) + mean(chosen == rejected) / 2."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        pairs = list(zip(predictions, references, strict=True))
        wins = sum(chosen > rejected for chosen, rejected in pairs)
        ties = sum(chosen == rejected for chosen, rejected in pairs)
        return {"accuracy": (wins + ties / 2) / len(pairs), "ties": ties / len(pairs)}
