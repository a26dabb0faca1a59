"""Generate answers in batches: sort by length, pad on the left, drop rows as they end.

    Generator(model, tokenizer).answer(prompts, max_new_tokens=48) -> [Answer(text, tokens, ended)]

1. Prompts (message lists or plain strings) become token ids (inference/prompts.py).
2. Rows are sorted by length and cut into batches; padding stands on the left, and position ids
   count from the first real token, so a padded row gives what it gives alone.
3. One forward over the prompts, then one per token. A row that has ended leaves the batch and its
   key-value cache: `model.generate` goes on computing it until the longest row is done.

Cost: one forward over the prompt tokens plus one per new token. On two CPU cores the loop is
bound by the number of steps, so large batches pay. Greedy decoding is exact in float32; a copy of
the weights in bfloat16 is faster on CPUs made for it, and may break a tie between two tokens
otherwise.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from hfllm.inference.logits import vocab_size
from hfllm.inference.progress import track
from hfllm.inference.prompts import (
    Prompt,
    encode_prompt,
    newline_ids,
    positions,
    stop_ids,
    stop_mask,
)


@dataclass
class Answer:
    """What a model said: text without the stop token, tokens generated with it."""

    text: str
    tokens: int
    ended: bool  # False: cut at max_new_tokens or at the model's last position
    ids: list[int] = field(default_factory=list)  # generated tokens, with the stop token
    prompt_ids: list[int] = field(default_factory=list)


@dataclass
class Batch:
    """Rows on their way: what the next forward needs."""

    ids: torch.Tensor  # (B, T) tokens not seen by the model yet
    mask: torch.Tensor  # (B, S) 1 where a token of the row stands, 0 for padding
    position: torch.Tensor  # (B, T)
    cache: DynamicCache
    rows: list[int]  # which prompts are still running


class Generator:
    """Batched generation with one model.

    Args:
        model: a causal LM, in eval mode afterwards; rotary or learned positions.
        tokenizer: its tokenizer.
        batch_size: prompts at once.
        dtype: None keeps the model as it is; torch.bfloat16 works on a copy of the weights.
        stop_at_newline: a line break ends an answer (base models).
        seed: of the sampling.
    """

    def __init__(  # noqa: D107
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int = 64,
        dtype: torch.dtype | None = None,
        *,
        stop_at_newline: bool = False,
        seed: int = 0,
    ) -> None:
        self.model = model
        if dtype is not None and dtype != model.dtype:
            self.model = copy.deepcopy(model)
            torch.nn.Module.to(self.model, dtype)
        self.model.eval()
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_positions = positions(model)
        self.stop_ids = stop_ids(model, tokenizer)
        newlines = newline_ids(tokenizer) if stop_at_newline else frozenset()
        self.stops = stop_mask(self.stop_ids | newlines, vocab_size(model)).to(model.device)  # (V,)
        self.stop_at_newline = stop_at_newline
        self.temperature = 0.0  # of `answer` where it is given none
        self.random = torch.Generator(device=model.device).manual_seed(seed)
        accepted = inspect.signature(model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        # transformers renames past_key_values to cache, model by model, until 5.40
        self.cache_name = "cache" if "cache" in accepted else "past_key_values"
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def answer(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int = 48,
        temperature: float | None = None,
        label: str = "answers",
    ) -> list[Answer]:
        """Answers in the order of the prompts; temperature 0 is greedy, None the generator's own.

        A prompt that leaves no room within the model's positions gets an empty answer that has not
        ended, so that rows are conserved.
        """
        temperature = self.temperature if temperature is None else temperature
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        order = [i for i in range(len(encoded)) if len(encoded[i]) < self.max_positions]
        order.sort(key=lambda i: len(encoded[i]), reverse=True)
        generated: list[list[int]] = [[] for _ in encoded]
        with track(len(order), label, "prompts") as bar:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                for row, token in self.decode(
                    [encoded[i] for i in chosen], max_new_tokens, temperature
                ):
                    generated[chosen[row]].append(token)
                bar(len(chosen))
        return [self._finish(new, prompt) for new, prompt in zip(generated, encoded, strict=True)]

    def stream(
        self, prompt: Prompt, max_new_tokens: int = 256, temperature: float = 0.0
    ) -> Iterator[str]:
        """Pieces of text of one answer as they come; whole characters only."""
        ids: list[int] = []
        shown = ""
        for _, token in self.decode(
            [encode_prompt(self.tokenizer, prompt)], max_new_tokens, temperature
        ):
            ids.append(token)
            text = self._finish(ids, []).text
            if text.endswith("\ufffd"):  # bytes of a character that is not complete yet
                continue
            yield text[len(shown) :]
            shown = text
        yield self._finish(ids, []).text[len(shown) :]

    @torch.inference_mode()
    def decode(
        self, prompts: list[list[int]], max_new_tokens: int, temperature: float = 0.0
    ) -> Iterator[tuple[int, int]]:
        """Yield (row, token) for each new token of each row, the stop token too."""
        batch = self._pad(prompts)
        for _ in range(max_new_tokens):
            token = self._pick(self._forward(batch), temperature)  # (B,)
            yield from zip(batch.rows, token.tolist(), strict=True)
            has_room = batch.position[:, -1] + 2 < self.max_positions  # (B,)
            running = (~self.stops[token] & has_room).nonzero().squeeze(1)  # (B',)
            if not len(running):
                return
            if len(running) < len(batch.rows):
                token = self._shrink(batch, token, running)
            batch.ids = token[:, None]
            batch.mask = torch.cat([batch.mask, batch.mask.new_ones(len(token), 1)], dim=1)
            batch.position = batch.position[:, -1:] + 1

    def _pad(self, prompts: list[list[int]]) -> Batch:
        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])  # (B, P)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])  # (B, P)
        device = self.model.device
        position = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        return Batch(
            ids.to(device), mask.to(device), position.to(device), cache, list(range(len(prompts)))
        )

    def _forward(self, batch: Batch) -> torch.Tensor:
        """Logits of each row's next token, (B, V)."""
        place = {"position_ids": batch.position} if self.takes_positions else {}
        out = self.model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            use_cache=True,
            **{self.cache_name: batch.cache},
            **place,
            **self.last_only,
        )
        return out.logits[:, -1]

    def _pick(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        if temperature <= 0:
            return logits.argmax(-1)
        chances = (logits.float() / temperature).softmax(-1)
        return torch.multinomial(chances, 1, generator=self.random).squeeze(1)

    def _shrink(self, batch: Batch, token: torch.Tensor, running: torch.Tensor) -> torch.Tensor:
        """Take the rows that have ended out of the batch."""
        batch.cache.batch_select_indices(running)
        batch.mask, batch.position = batch.mask[running], batch.position[running]
        batch.rows = [batch.rows[i] for i in running.tolist()]
        return token[running]

    def _finish(self, generated: list[int], prompt: list[int]) -> Answer:
        """Text up to the stop token; the part of a newline token before the break is kept."""
        ended = bool(generated) and bool(self.stops[generated[-1]])
        spoken = generated[:-1] if generated and generated[-1] in self.stop_ids else generated
        text = str(self.tokenizer.decode(spoken, skip_special_tokens=True))
        if self.stop_at_newline:
            text = text.split("\n")[0]
        return Answer(text, len(generated), ended, list(generated), prompt)
