"""Compare two tokenizers as loaded: would a text get the same ids, and does a new token take one?

Files are not enough: one folder has tokenizer.json, another vocab.json and merges.txt, a hub id has
no folder. Compared are the vocabularies, and the ids of a text with what tokenizers treat in
different ways: case, digits, white space, accents in two Unicode forms, scripts without spaces.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_text

PROBE = (
    "The quick brown fox doesn't jump over 12 lazy dogs, but 3,456,789 do;  two  spaces.\n\n"
    "\tdef f(x): return x**2 + 0x1F  # Zürich, cafe\u0301, Ünïcode, naïve\r\n"
    "ALL CAPS http://example.org/?a=b&c=d 東京は日本の首都です。 Привет, мир! مرحبا 👩‍🚀 ¼ ﬁ"
)


def difference(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> str | None:
    """How `ours` would give a text other ids than `theirs`, as a clause; None where it would not.

    Tokens that only `ours` has under ids that `theirs` does not use are no difference.
    """
    own, other = ours.get_vocab(), theirs.get_vocab()
    lacking = sorted(other.keys() - own.keys(), key=lambda token: other[token])
    if lacking:
        return f"it lacks {len(lacking):,} of {len(other):,} tokens, {lacking[0]!r} first"
    if clash := id_clash(own, other):
        return clash
    if encode_text(ours, PROBE) != encode_text(theirs, PROBE):
        return "it has the same tokens, but splits text into them in another way"
    return None


def id_clash(own: dict[str, int], other: dict[str, int]) -> str | None:
    """A token of the vocabulary `own` under an id that `other` uses for another one; or None.

    A token of both under two ids is such a clash, too.
    """
    taken = {i: token for token, i in other.items()}
    for token, i in own.items():
        if taken.get(i, token) != token:
            return f"id {i} is {token!r} in it, and {taken[i]!r} in the model's own"
        if other.get(token, i) != i:
            return f"{token!r} has id {i} in it, and {other[token]} in the model's own"
    return None
