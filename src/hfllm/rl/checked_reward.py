"""Check what reward functions return: one finite number, or None, for each answer.

A NaN would train nothing without a word, because TRL marks by NaN what a function does not score
(None); an infinity becomes NaN in the whitening; a list that is too short is an error far from the
function. `checked` wraps a function so that each is one line with its name, the row and the value.
`JudgedReward` and the like, which read a function's scores, wrap a checked one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from numbers import Real
from typing import Any

import torch
from accelerate.utils import gather_object

from hfllm.recipe.errors import is_out_of_memory
from hfllm.rl.reward_errors import RewardError, failure, no_exit
from hfllm.rl.rewards import RewardModelScorer, prefix_features_of

Scores = list[float | None]
LARGEST = torch.finfo(torch.float32).max
WANTED = "return a list with one number per answer, None where it does not score a row"


class RewardWrapper:
    """Keeps a reward function's name (for the metric rewards/NAME/mean) and prefix features."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.prefix_features = prefix_features_of(function, self.__name__)


class ChangedReward(RewardWrapper):
    """A reward function whose scores are changed, so that it must return them when it is called."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        refuse_async(function, self.__name__)


class CheckedReward(RewardWrapper):
    """A reward function whose arguments, errors and results are checked.

    With a list `errors` an error is added to it and nothing is scored, so that a trainer of several
    processes can raise it on all of them (`raise_together`).
    """

    errors: list[Exception] | None = None

    def __call__(self, **given: Any) -> Scores:
        """The function's scores; arguments as TRL passes them.

        Raises:
            ValueError: one line that names the function and what is wrong.
        """
        try:
            self.check_arguments(given)
            with no_exit(f"reward function {self.__name__}"):
                scores = self.function(**given)
            return self._checked(scores, given)
        except Exception as error:
            return self._failed(error, given)

    def _failed(self, error: Exception, given: dict[str, Any]) -> Scores:
        explained = self._explained(error)
        if self.errors is None:
            raise explained from error
        self.errors.append(explained)
        return [None] * len(given["completions"])

    def check_arguments(self, given: Mapping[str, Any]) -> None:
        """Raise ValueError if the function cannot be called with these arguments."""
        try:
            signature = inspect.signature(self.function)
        except (ValueError, TypeError):  # of a function written in C
            return
        try:
            signature.bind(**given)
        except TypeError as error:
            names = ", ".join(key for key, value in given.items() if isinstance(value, list))
            raise RewardError(
                f"reward function {self.__name__}: {error}; it is called with {names} (one list "
                "each) and others: take what it does not read with **kwargs"
            ) from None

    def _explained(self, error: Exception) -> Exception:
        """An error of the function as one line with its place; ours are passed on."""
        ours = isinstance(self.function, RewardWrapper | RewardModelScorer)
        if ours or isinstance(error, RewardError) or is_out_of_memory(error):
            return error
        return failure(f"reward function {self.__name__}", error)

    def _checked(self, scores: Any, given: dict[str, Any]) -> Scores:
        answers = len(given["completions"])
        if not isinstance(scores, Iterable) or isinstance(scores, str | bytes | Mapping):
            raise RewardError(f"reward function {self.__name__} returned {scores!r}; {WANTED}")
        found = list(scores)
        if len(found) != answers:
            raise RewardError(
                f"reward function {self.__name__} returned {len(found)} values for {answers} "
                f"answers; {WANTED}"
            )
        return [self._number(value, row, given) for row, value in enumerate(found)]

    def _number(self, value: Any, row: int, given: dict[str, Any]) -> float | None:
        if value is None:
            return None
        plain = value.item() if getattr(value, "ndim", None) == 0 else value  # torch, numpy
        if isinstance(plain, Real | Decimal) and _is_float32(plain):
            return float(plain)
        raise RewardError(
            f"reward function {self.__name__} gave {value!r} ({type(value).__name__}) for "
            f"{row_name(row, given)}; {WANTED}"
        )


def _is_float32(number: Real | Decimal) -> bool:
    """Whether a number is finite as float32, in which rewards are kept."""
    try:
        return abs(float(number)) <= LARGEST  # NaN is not
    except OverflowError:  # an int beyond float64
        return False


class CheckedAsyncReward(CheckedReward):
    """The same around an `async` function, which TRL awaits beside others."""

    async def __call__(self, **given: Any) -> Scores:  # type: ignore[override]
        """The function's scores."""
        try:
            self.check_arguments(given)
            with no_exit(f"reward function {self.__name__}"):
                scores = await self.function(**given)
            return self._checked(scores, given)
        except Exception as error:
            return self._failed(error, given)


def checked(function: Any) -> Any:
    """The reward function with its results checked; models and paths of models as they are."""
    if isinstance(function, CheckedReward | torch.nn.Module | str):
        return function
    return CheckedAsyncReward(function) if is_async(function) else CheckedReward(function)


def is_async(function: Any) -> bool:
    """Whether a function, or an object that can be called, has to be awaited."""
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def refuse_async(function: Any, name: str) -> None:
    """Raise RewardError for an `async` function where its scores are changed."""
    if is_async(function):
        raise RewardError(
            f"reward function {name} is async, which judge and length_floor cannot wait for; make "
            "it a plain `def`, or leave both out"
        )


def all_checked(functions: Any, errors: list[Exception]) -> list[Any]:
    """`checked` of one reward function or of a list, as TRL takes them; they fill `errors`."""
    out = [checked(f) for f in (functions if isinstance(functions, list) else [functions])]
    for function in out:
        if isinstance(function, CheckedReward):
            function.errors = errors
    return out


def raise_together(errors: list[Exception], processes: int) -> None:
    """Raise the first error on every process; the others would wait for this one for ever.

    Args:
        errors: of this process.
        processes: how many meet here.

    Raises:
        Exception: this process's error, or ValueError with the message of another one's.
    """
    texts = [str(error) for error in errors[:1]]
    found = gather_object(texts) if processes > 1 else texts
    if errors:
        raise errors[0]
    if found:
        raise ValueError(found[0])


@contextmanager
def together(processes: int) -> Iterator[None]:
    """Context, without collectives in it, whose error is raised on all of so many processes."""
    errors: list[Exception] = []
    try:
        yield
    except Exception as error:
        errors.append(error)
    raise_together(errors, processes)


def row_name(row: int, given: dict[str, Any]) -> str:
    """A row by its `id`, if it has one, and the end of its prompt."""
    name = f"row {given['id'][row]!r}" if isinstance(given.get("id"), list) else f"answer {row + 1}"
    prompt = given["prompts"][row] if "prompts" in given else ""
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    shown = str(text) if len(str(text)) <= 60 else "..." + str(text)[-57:]
    return f"{name}, prompt {shown!r}"


def check_scores(scores: torch.Tensor, functions: list[Any], names: list[str]) -> None:
    """Check (B, F) scores of reward models, which TRL calls itself.

    Raises:
        ValueError: a model's score is no finite number.
    """
    for i, (function, name) in enumerate(zip(functions, names, strict=True)):
        wrong = scores[:, i][~scores[:, i].isfinite()]
        if isinstance(function, torch.nn.Module) and len(wrong):
            raise ValueError(f"the reward model {name} gives {wrong[0].item()} for an answer")
