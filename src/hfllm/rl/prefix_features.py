"""Features of an answer's beginning: call the user's `prefix_features`, check the result."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from hfllm.rl.reward_errors import failure
from hfllm.rl.rewards import prefix_features_of


def prefixes(tokenizer: Any, ids: Sequence[int]) -> Iterator[str]:
    """The text before each token of `ids`, without special tokens."""
    backend, text = getattr(tokenizer, "backend_tokenizer", None), ""
    if backend is None:  # decode each prefix: quadratic in the answer's length
        yield from (tokenizer.decode(ids[:n], skip_special_tokens=True) for n in range(len(ids)))
        return
    stream = DecodeStream(skip_special_tokens=True)
    for token in ids:
        yield text
        text += stream.step(backend, token) or ""  # None: a character is still incomplete


class PrefixFeatures:
    """Calls the `prefix_features` of one reward function and checks the result."""

    def __init__(self, name: str, function: Callable[..., list[float]]) -> None:
        """Wrap `function`; `name` is the reward function's, for messages."""
        self.name, self._function = name, function
        self._count: int | None = None  # K, from the first prefix on

    def of(self, texts: list[str], row: dict[str, Any]) -> torch.Tensor:
        """Features (T, K) of the T prefixes of an answer; `row` is its prompt's.

        Raises:
            ValueError: K differs from that of another prefix, or a feature is no finite number.
        """
        if self._count is None:  # the columns are the same in every row
            self._check_arguments(row)
        features = [self._checked(text, self._call(text, row)) for text in texts]
        return torch.tensor(features, dtype=torch.float32)  # (T, K); every answer has a token

    def _check_arguments(self, row: dict[str, Any]) -> None:
        try:
            inspect.signature(self._function).bind("", **row)
        except TypeError as error:
            raise ValueError(
                f"prefix_features of the reward function {self.name}: {error}; it is called with "
                f"an answer's beginning and the columns {', '.join(row)}: define it as "
                "(prefix, /, **row)"
            ) from None

    def _call(self, text: str, row: dict[str, Any]) -> Any:
        try:
            return self._function(text, **row)
        except Exception as error:
            raise failure(f"prefix_features of the reward function {self.name}", error) from error

    def _checked(self, text: str, numbers: Any) -> list[float]:
        found = list(numbers) if isinstance(numbers, Iterable) else []
        if self._count is None and found:
            self._count = len(found)
        plain = [x.item() if getattr(x, "ndim", None) == 0 else x for x in found]
        wrong = not all(isinstance(x, Real) and isfinite(x) for x in plain)
        if wrong or not found or len(found) != self._count:
            count = f"{self._count} numbers" if self._count else "numbers"
            raise ValueError(
                f"prefix_features of the reward function {self.name} gives {numbers} for "
                f"{text!r}; return a list of {count} each time, 0.0 for an unknown one"
            )
        return [float(x) for x in plain]


def features_of(functions: Sequence[Any], names: Sequence[str]) -> list[PrefixFeatures]:
    """The `PrefixFeatures` of the reward functions that have them.

    Raises:
        ValueError: a function has them under their old name `so_far`, which would be ignored.
    """
    pairs = zip(functions, names, strict=True)
    found = [(name, prefix_features_of(function, name)) for function, name in pairs]
    return [PrefixFeatures(name, features) for name, features in found if features]
