"""Show how a tokenizer splits a text: every token coloured, with its id and its bytes.

Reads `tokenizer.json` with the `tokenizers` library alone (0.01 s to import instead of 1 s for
transformers), so that `hfllm tokens` answers at once. Control tokens that the text spells are shown
as plain text, as they are encoded for training.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from hfllm.recipe.errors import reading
from hfllm.recipe.hub import require_model
from hfllm.recipe.hub_cache import TOKENIZER
from hfllm.recipe.model_names import how_to_get

COLORS = (41, 42, 43, 44, 45, 46)  # ANSI background colours, taken in turn
RESET = "\x1b[0m"


def show_tokens(text: str, tokenizer_dir: str | Path, color: bool = True) -> str:
    """The text with its tokens coloured, a line of totals, then a line for each token.

    Args:
        text: any text.
        tokenizer_dir: folder of a tokenizer, a model or a step, or a hub id (owner/name).
        color: with ANSI colours; else tokens are separated by bars.

    Raises:
        ValueError: no tokenizer.json there.
    """
    tokenizer = _load(str(tokenizer_dir))
    encoding = tokenizer.encode(text, add_special_tokens=False)
    pieces = [token_bytes(token) for token in encoding.tokens]
    size = len(text.encode())
    ratio = size / max(1, len(pieces))
    rows = [
        f"{i:>7}  {len(piece):>2} bytes  {_printable(piece)}"
        for i, piece in zip(encoding.ids, pieces, strict=True)
    ]
    head = f"{len(pieces):,} tokens, {size:,} bytes, {ratio:.2f} bytes per token"
    return "\n".join([_paint(pieces, color), head, *rows])


def token_bytes(token: str) -> bytes:
    """The bytes of an entry of a byte-level (or byte-fallback) vocabulary."""
    table = _byte_of_character()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()  # how SentencePiece writes a space


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable bytes are their own characters, the others those from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}


def _load(place: str) -> Tokenizer:
    folder = Path(place)
    if require_model(place, TOKENIZER):
        with reading(f"no folder {place}, and no tokenizer.json on the hub"):
            tokenizer = Tokenizer.from_pretrained(place)
    else:
        found = [folder / inner / "tokenizer.json" for inner in ("", "model", "tokenizer")]
        path = next((path for path in found if path.is_file()), None)
        if path is None:
            what = how_to_get(place) or "; name its folder"
            raise ValueError(f"no tokenizer in {place}: tokenizer.json is missing{what}")
        with reading(f"{path}: no tokenizer"):
            tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _printable(piece: bytes) -> str:
    """The piece as text; bytes of an incomplete character as \\x.."""
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in piece)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _paint(pieces: list[bytes], color: bool) -> str:
    if not color:
        return "|".join(map(_printable, pieces))
    colors = (COLORS[i % len(COLORS)] for i in range(len(pieces)))
    return "".join(
        f"\x1b[{code}m{_printable(piece)}{RESET}"
        for code, piece in zip(colors, pieces, strict=True)
    )
