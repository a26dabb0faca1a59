"""Generate answers in batches: sort by length, pad on the left, drop rows as they end.

    Generator(model, tokenizer).answer(prompts, max_new_tokens=48) -> [Answer(text, tokens, ended)]

1. Prompts (message lists or plain strings) become token ids (inference/prompts.py).
2. Rows are sorted by length and cut into batches; padding stands on the left, and position ids
   count from the first real token, so a padded row gives what it gives alone.
3. One forward over the prompts, then one per token. A row that has ended leaves the batch
   (fast_cpu/decoding.py).

Cost: one forward over the prompt tokens plus one per new token. On two CPU cores the loop is
bound by the number of steps, so large batches pay. Greedy decoding is exact in float32; a copy of
the weights in bfloat16 is faster on CPUs made for it, and may break a tie between two tokens
otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.fast_cpu.decoding import decode
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
        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])  # (B, P)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])  # (B, P)

        def choose(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return self._pick(logits, temperature)

        def over(_: torch.Tensor, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            return self.stops[token] | (position + 2 >= self.max_positions)

        device = self.model.device
        rows = (ids.to(device), mask.to(device))
        yield from decode(self.model, rows, max_new_tokens, choose, over)

    def _pick(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        if temperature <= 0:
            return logits.argmax(-1)
        chances = (logits.float() / temperature).softmax(-1)
        return torch.multinomial(chances, 1, generator=self.random).squeeze(1)

    def _finish(self, generated: list[int], prompt: list[int]) -> Answer:
        """Text up to the stop token; the part of a newline token before the break is kept."""
        ended = bool(generated) and bool(self.stops[generated[-1]])
        spoken = generated[:-1] if generated and generated[-1] in self.stop_ids else generated
        text = str(self.tokenizer.decode(spoken, skip_special_tokens=True))
        if self.stop_at_newline:
            text = text.split("\n")[0]
        return Answer(text, len(generated), ended, list(generated), prompt)
