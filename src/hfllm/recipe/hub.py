"""Ask once, within two seconds, whether the Hugging Face hub can be reached for an id.

Offline the libraries retry for a minute and end in a traceback. Code that is about to load a hub
id asks here first: an id in the cache is loaded from there, and where the hub does not answer the
libraries are told so; an id that is neither cached nor reachable is one line. A slow network:
HFLLM_HUB_TIMEOUT=SECONDS.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from functools import lru_cache

from hfllm.recipe.hub_cache import ALL, MODEL, cache, missing
from hfllm.recipe.model_names import names_hub
from hfllm.recipe.one_answer import one_answer

TIMEOUT_S = 1.5
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
UNASKED = "HFLLM_HUB_DOES_NOT_ANSWER"  # why HF_HUB_OFFLINE is set, if by us


def hub_problem(name: str, kind: str = MODEL) -> str | None:
    """Why the hub id `name` cannot be loaded now, as the rest of a line; None if it can be tried.

    Args:
        name: owner/name, or the name alone of an old data set.
        kind: MODEL, TOKENIZER or DATA, of hub_cache.py: what will be loaded.
    """
    if (why := why_unreachable()) is None:
        return None
    lacks = missing(name, kind)
    if lacks is None:
        _go_offline(why)
        return None
    what = "is not in the cache" if lacks == ALL else f"is in the cache without {lacks}"
    return (
        f"the hub id {name} {what} ({cache()}), and {why}; connect, or name a folder on this disk"
    )


def why_unreachable() -> str | None:
    """Why the hub cannot be asked now; None if it answers. Takes two seconds at most."""
    if unasked := os.environ.get(UNASKED):
        return unasked
    if _is_offline():
        return f"{_switch()}=1 is set"
    return _no_answer(_endpoint(), _timeout())


def require_model(reference: str, kind: str = MODEL) -> bool:
    """Whether a reference to a model, or to a TOKENIZER, names the hub.

    Raises:
        ValueError: it does, and can be loaded neither from the cache nor from the hub.
    """
    if not names_hub(reference):
        return False
    if problem := hub_problem(reference, kind):
        raise ValueError(problem)
    return True


def _is_offline() -> bool:
    return bool(_switch())


def _switch() -> str:
    """The variable by which the user switches the hub off, or ""."""
    on = ("1", "on", "yes", "true")
    return next((name for name in SWITCHES if os.environ.get(name, "").lower() in on), "")


def _go_offline(why: str) -> None:
    """Tell the libraries, imported or not, to read the cache without asking the hub."""
    if not _is_offline():
        os.environ[UNASKED] = why
    os.environ["HF_HUB_OFFLINE"] = "1"
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules:
            sys.modules[module].HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _timeout() -> float:
    text = os.environ.get("HFLLM_HUB_TIMEOUT", "")
    try:
        return float(text) if text else TIMEOUT_S
    except ValueError:
        raise ValueError(f"HFLLM_HUB_TIMEOUT: {text!r} is not a number of seconds") from None


@lru_cache(maxsize=8)
def _no_answer(endpoint: str, timeout_s: float) -> str | None:
    """Why the hub does not answer, or None; asked once for all processes of a step on a machine."""
    return one_answer(lambda: _ask(endpoint, timeout_s), "hub")


def _ask(endpoint: str, timeout_s: float) -> str | None:
    """Why the hub does not answer, or None; in a thread, as a name's look-up has no timeout."""
    found: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")
            urllib.request.urlopen(request, timeout=timeout_s).close()  # proxies are honoured
            found.append(None)
        except urllib.error.HTTPError:
            found.append(None)  # it answers
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            answers = isinstance(reason, ssl.SSLError)  # with a certificate that we do not know
            found.append(None if answers else f"{endpoint} cannot be reached ({reason})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if found:
        return found[0]
    return f"{endpoint} does not answer within {timeout_s:g} s (HFLLM_HUB_TIMEOUT=N waits longer)"
