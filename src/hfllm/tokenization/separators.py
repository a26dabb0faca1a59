"""What separates documents: the tokens before and after each, in training and in scoring.

    tokenizer                 before         after
    hfllm's own, Llama        bos            eos
    Llama-Instruct            bos            <|end_of_text|>, not its eos, which ends turns
    GPT-2, Qwen (no bos)      <|endoftext|>  <|endoftext|>
    ChatML: bos <|im_start|>  <|endoftext|>  <|endoftext|>

What the tokenizer itself writes before a text comes first. Chat models often set bos or eos to a
token of their turns. A document between those would be a turn without a speaker, so they are not
taken: the token that ended documents before the model became a chat model is. Where nothing else
begins a document the separator also stands before it, as between the documents of a long stream: so
the first token of each is predicted, and is scored.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.apply_template import render_text
from hfllm.tokenization.template_plan import end_of_turn

# Names under which published tokenizers know the end of a document.
DOCUMENT_ENDS = (
    "<|endoftext|>", "<|end_of_text|>", "<|eos|>", "</s>", "<eos>", "<EOS_TOKEN>", "<|eod|>",
)  # fmt: skip
PROBE = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@dataclass(frozen=True)
class Separators:
    """Token ids around a document; either side may be empty."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def separators(tokenizer: PreTrainedTokenizerBase) -> Separators:
    """The tokens around a document, as in the table above; both empty where there is none."""
    known = tokenizer.get_vocab()
    end = _document_end(tokenizer)
    after = (known[end],) if end in known else ()
    before = tuple(start_ids(tokenizer))
    if not before and tokenizer.bos_token in known and not _opens_turns(tokenizer):
        before = (known[str(tokenizer.bos_token)],)
    return Separators(before or after, after)


def start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Special tokens that the tokenizer itself puts before a text, mostly bos; [] for none.

    The model was trained with them, and lm-eval scores with them.
    """
    bare = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a").input_ids
    return whole[: whole.index(bare[0])]


def _document_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Eos, but for a chat model whose eos ends turns: there the special token that ends texts."""
    eos = tokenizer.eos_token
    if not tokenizer.chat_template or (eos in DOCUMENT_ENDS and eos != _turn_end(tokenizer)):
        return eos
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return next((name for name in DOCUMENT_ENDS if name in special - {eos}), eos)


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    with suppress(ValueError):
        return end_of_turn(tokenizer)
    return None


def _opens_turns(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether bos is a role token of the chat template: it stands before each of two messages."""
    if not (tokenizer.chat_template and tokenizer.bos_token):
        return False
    with suppress(ValueError, TemplateError):
        return render_text(tokenizer, PROBE, False)[0].count(tokenizer.bos_token) > 1
    return False


def said(tokenizer: PreTrainedTokenizerBase) -> str:
    """One line on what separates documents where it is not bos and eos, else ""."""
    found = separators(tokenizer)
    usual = ((tokenizer.bos_token_id,), (tokenizer.eos_token_id,))
    if (found.before, found.after) == usual:
        return ""
    before, after = (
        " ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))
        for ids in (found.before, found.after)
    )
    return (
        f"documents stand between {before} and {after} (the tokenizer's bos is "
        f"{tokenizer.bos_token}, its eos {tokenizer.eos_token})"
    )
