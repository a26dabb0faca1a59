"""Render conversations: messages -> token ids and loss mask, the same in training and at inference.

In order: render the chat template; align its text with the template's plan (template_plan.py),
which tells the template's characters from the messages' contents; split the text where the prompt
of every assistant turn ends, because generation starts there; encode the segments; mark the tokens
of the answers and their end-of-turn tokens as trained. A control token that a content spells is
encoded as plain text: control tokens come from the template only.

Where no content spells a control token the ids are those of `apply_chat_template`. Cost: 0.3 ms per
conversation. Evaluation, generation, reward models and RL render here too, so that training and
inference cannot differ.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from hfllm.data.packing.pack import Rendered
from hfllm.tokenization.apply_template import Messages, Tools, render_text
from hfllm.tokenization.template_plan import Plan, after_end, end_of_turn, plan_for


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    add_generation_prompt: bool = False,
    train: str = "all",
    tools: Tools = None,
) -> Rendered:
    """Render one conversation.

    Args:
        tokenizer: with a chat template.
        messages: dicts with `role` and `content` (text); an answer with `weight: 0` is not trained.
        add_generation_prompt: end with the prompt of the next assistant turn; nothing is trained.
        train: which turns are trained, each with its end-of-turn token: "all" assistant messages
            (with `{% generation %}` markers in the template, the marked ones), the "last" message,
            or "none". Templates of reasoning models remove the thoughts of earlier turns and
            rewrite those of the last: "all" refuses that, because the trained text would differ
            from the one at inference; "last" and "none" take what the template writes.
        tools: JSON schemas of the tools that the assistant may call.

    Raises:
        ValueError: the template refuses or drops a message; it rewrites one that must be found in
            its text (because it is trained, or a content spells a control token); or the prompt of
            a trained turn differs between training and inference.
    """
    contents = [_content(message, i) for i, message in enumerate(messages)]
    plan = plan_for(tokenizer, messages, add_generation_prompt, tools)
    contents = [contents[i] for i in plan.written]
    train = "none" if add_generation_prompt else train
    text, _ = render_text(tokenizer, messages, add_generation_prompt, tools)
    try:
        wanted = _wanted(plan, train, messages)
        begins = _align(text, plan, contents)  # offset of each piece in the text
    except ValueError:
        if train == "all" or any(map(plan.control.search, contents)):
            raise
        spelled = []
        spans = [_last_span(tokenizer, messages, text, tools)] if train == "last" else []
    else:
        spelled = list(_spelled(text, plan, begins))
        spans = [
            (
                begins[turn.first] + turn.start,
                begins[turn.last] + turn.end if turn.message in wanted else -1,
            )
            for turn in plan.turns
        ]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    rendered = Rendered([], [])
    segments = _segments(text, starts, spelled)
    for begin, ids, offsets in _encode(tokenizer, text, segments, plan.adds_space):
        turn = bisect_right(starts, begin) - 1
        end = ends[turn] if turn >= 0 else -1
        rendered.input_ids += ids
        rendered.trained += [begin + offset < end for offset in offsets]
    return rendered


def _wanted(plan: Plan, train: str, messages: Messages) -> set[int]:
    """Indices of the messages to train; ValueError where one of them cannot be trained."""
    assert train in ("all", "last", "none"), train
    if train == "none":
        return set()
    last = len(messages) - 1
    asked = {
        i
        for i, message in enumerate(messages)
        if (train == "all" or i == last) and message.get("weight") != 0
    }
    for message, problem in plan.problems.items():
        if message in asked:
            raise ValueError(problem)
    return {turn.message for turn in plan.turns} & asked


def _last_span(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, text: str, tools: Tools
) -> tuple[int, int]:
    """Span of the last turn, end token included, in a text that cannot be aligned."""
    prompt, _ = render_text(tokenizer, messages[:-1], True, tools)
    token = end_of_turn(tokenizer)
    if not text.startswith(prompt) or token not in text[len(prompt) :]:
        raise ValueError(
            f"the chat template writes another prompt at inference than in training before message "
            f"{len(messages) - 1}, or does not end it with {token!r}; set chat_template to one "
            "whose prompt is a prefix of the whole conversation"
        )
    return len(prompt), after_end(tokenizer, text, text.index(token, len(prompt)))


def eot_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The end-of-turn token id of this tokenizer's chat template.

    Raises:
        ValueError: the template ends a turn with no control token.
    """
    return tokenizer.get_vocab()[end_of_turn(tokenizer)]


def _content(message: object, index: int) -> str:
    if not isinstance(message, dict) or not isinstance(content := message.get("content"), str):
        raise ValueError(f"message {index} is not a role with a text as content: {message!r:.120}")
    return content


def _align(text: str, plan: Plan, contents: Sequence[str]) -> list[int]:
    """Offsets in the text of the plan's pieces; ValueError unless contents are kept or stripped."""
    begins, at = [0], len(plan.pieces[0])
    for i, content in enumerate(contents):
        piece = plan.pieces[i + 1]
        written = (content, content.strip(), content.lstrip(), content.rstrip())
        for candidate in written if text.startswith(plan.pieces[i], begins[i]) else ():
            if text.startswith(candidate + piece, at):
                begins.append(at + len(candidate))
                at = begins[-1] + len(piece)
                break
        else:
            raise ValueError(
                f"the chat template rewrites message {plan.written[i]} ({content!r:.60}), so that "
                "its tokens cannot be told from the template's; train what it writes of the last "
                "turn with data.turns=last (or each), or set chat_template to another one"
            )
    if at != len(text):
        raise ValueError(f"the chat template writes {text[at:]!r:.60} behind the conversation")
    return begins


def _spelled(text: str, plan: Plan, begins: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Spans in the text where a content spells a control token."""
    for i in range(len(plan.pieces) - 1):
        begin, end = begins[i] + len(plan.pieces[i]), begins[i + 1]
        yield from (match.span() for match in plan.control.finditer(text, begin, end))


def _segments(
    text: str, starts: Sequence[int], spelled: Sequence[tuple[int, int]]
) -> list[tuple[int, int, bool]]:
    """Split at ends of prompts and around spelled control tokens: (begin, end, is plain text)."""
    edges = sorted({0, len(text), *starts, *(edge for span in spelled for edge in span)})
    plain = {begin for begin, _ in spelled}
    return [(a, b, a in plain) for a, b in pairwise(edges)]


def _encode(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    segments: Sequence[tuple[int, int, bool]],
    adds_space: bool,
) -> Iterator[tuple[int, list[int], list[int]]]:
    """Encode the segments: yield (begin in the text, ids, offset of each id from begin), in order.

    SentencePiece-like tokenizers put a space before a text: every segment but the first is encoded
    after a newline, whose tokens are removed again (as in transformers' `encode_marked_chat`).
    """
    encoded: dict[int, tuple[list[int], list[int]]] = {}
    for plain in (False, True):
        chosen = [(a, b) for a, b, is_plain in segments if is_plain == plain]
        leads = ["\n" if adds_space and a > 0 else "" for a, _ in chosen]
        if not chosen:
            continue
        batch = tokenizer(
            [lead + text[a:b] for (a, b), lead in zip(chosen, leads, strict=True)],
            add_special_tokens=False,
            split_special_tokens=plain,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows = zip(chosen, leads, batch["input_ids"], batch["offset_mapping"], strict=True)
        for (a, _), lead, ids, spans in rows:
            skip = sum(end <= len(lead) for _, end in spans) if lead else 0
            encoded[a] = (ids[skip:], [begin - len(lead) for begin, _ in spans[skip:]])
    return ((a, *encoded[a]) for a, _, _ in segments)
