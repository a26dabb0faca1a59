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
from pathlib import Path

from hfllm.recipe.model_names import names_hub

TIMEOUT_S = 1.5
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
UNASKED = "HFLLM_HUB_DOES_NOT_ANSWER"  # why HF_HUB_OFFLINE is set, if by us
MODEL, DATA = "models", "datasets"


def hub_problem(name: str, kind: str = MODEL) -> str | None:
    """Why the hub id `name` cannot be loaded now, as the rest of a line; None if it can be tried.

    Args:
        name: owner/name, or the name alone of an old data set.
        kind: MODEL (and tokenizers) or DATA.
    """
    if unasked := os.environ.get(UNASKED):
        why = unasked
    elif _is_offline():
        why = f"{_switch()}=1 is set"
    elif (answer := _no_answer(_endpoint(), _timeout())) is not None:
        why = answer
    else:
        return None
    if is_cached(name, kind):
        _go_offline(why)
        return None
    return (
        f"the hub id {name} is not in the cache ({_cache()}), and {why}; connect, or name a folder "
        "on this disk"
    )


def require_model(reference: str) -> bool:
    """Whether a model reference names the hub.

    Raises:
        ValueError: it does, and can be loaded neither from the cache nor from the hub.
    """
    if not names_hub(reference):
        return False
    if problem := hub_problem(reference):
        raise ValueError(problem)
    return True


def is_cached(name: str, kind: str) -> bool:
    """Whether files of the hub id were fetched before."""
    folder = _cache() / f"{kind}--{name.replace('/', '--')}" / "snapshots"
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or hub_home() / "datasets")
    made = prepared / name.replace("/", "___")
    return any(folder.glob("*/*")) or (kind == DATA and made.is_dir())


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


def hub_home() -> Path:
    """The folder of the Hugging Face libraries, as huggingface_hub resolves it; it need not be."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _folder(os.environ.get("HF_HOME") or f"{caches}/huggingface")


def _cache() -> Path:
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    return _folder(given) if given else hub_home() / "hub"


def _folder(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()


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
