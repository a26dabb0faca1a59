"""Which language a text is in: py3langid, whose model comes with the package (4.5 MB, no download).

Only the first 1,000 characters are looked at, so a long document costs 0.3 ms. Short texts get low
scores in every language ("What is 12 + 7?": en 0.17). Therefore a text is turned away not when
its own language scores low but when **another** one scores at least `min_score`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

SAMPLE_CHARS = 1000
NO_LANGUAGE = "zxx"  # ISO 639 for "no linguistic content": the model's class for letter salad


@cache
def _identifier() -> Any:
    """The model; loading takes 0.6 s, so only who filters by language pays."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check_language(text: str, languages: list[str], min_score: float) -> str | None:
    """Reason to drop: "gibberish", "language", or None."""
    language, score = _identifier().classify(text[:SAMPLE_CHARS])
    if language in languages or score < min_score:
        return None
    return "gibberish" if language == NO_LANGUAGE else "language"


def unknown_languages(languages: list[str]) -> list[str]:
    """Those that the model does not know, so that a typo does not drop everything."""
    return [code for code in languages if code not in _identifier().labels] if languages else []
