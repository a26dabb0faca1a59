"""Is the tokenizer that is saved beside a model the one that transformers will load from there?

`AutoTokenizer` goes by the config's model_type: for some (qwen2 in transformers 5.24) it takes that
family's class whatever tokenizer.json says, which splits text in another way and may add tokens
beyond the embeddings. So model and tokenizer of a run would be saved, and another pair be loaded.
"""

from __future__ import annotations

import tempfile
from typing import Any

from transformers import AutoTokenizer, PretrainedConfig

from hfllm.tokenization.compare import difference


def check_saved_tokenizer(config: PretrainedConfig, tokenizer: Any) -> None:
    """Save both into an empty folder, load the tokenizer from there, and compare.

    Args:
        config: of the model that will be trained.
        tokenizer: that its rows were made with.

    Raises:
        ValueError: the loaded one gives a text other ids, or has other tokens.
    """
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        loaded = AutoTokenizer.from_pretrained(folder)
    why = difference(loaded, tokenizer)
    if more := len(loaded) - len(tokenizer):
        why = why or f"it has {more:+,} tokens"
    if why:
        raise ValueError(
            f"model_type {config.model_type!r}: beside such a model transformers loads the "
            f"tokenizer as {type(loaded).__name__}, which is another one ({why}); choose another "
            "model_type for a tokenizer of your own, such as llama or qwen3"
        )
