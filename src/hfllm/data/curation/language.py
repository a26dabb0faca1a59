"""Language identification with py3langid (its model is in the package: 4.5 MB, no download).

Only the first 1,000 characters are classified, so a long document costs 0.3 ms. Short texts get low
scores in every language ("What is 12 + 7?": en 0.17). Therefore a text is dropped not when its own
language scores low but when **another** one scores at least `min_score`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

SAMPLE_CHARS = 1000
NO_LANGUAGE = "zxx"  # ISO 639 for "no linguistic content": the classifier's class for gibberish


@cache
def _identifier() -> Any:
    """The classifier; loading takes 0.6 s, so it is loaded when a language is first checked."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check_language(text: str, languages: list[str], min_score: float) -> str | None:
    """The reason to drop a text, "gibberish" or "language"; None to keep it.

    Args:
        text: the document's.
        languages: ISO codes that are kept.
        min_score: probability in [0, 1] from which on another language is a reason.
    """
    language, score = _identifier().classify(text[:SAMPLE_CHARS])
    if language in languages or score < min_score:
        return None
    return "gibberish" if language == NO_LANGUAGE else "language"


def unknown_languages(languages: list[str]) -> list[str]:
    """The codes that the classifier does not know: with a typo, every document would be dropped."""
    return [code for code in languages if code not in _identifier().labels] if languages else []
