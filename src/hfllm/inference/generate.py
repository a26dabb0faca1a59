"""Batched generation: sort prompts by length, pad on the left, drop rows as they stop.

    Generator(model, tokenizer).answer(prompts, max_new_tokens=48) -> [Answer(text, tokens, ended)]

1. Prompts (message lists or plain strings) become token ids (inference/prompts.py).
2. Rows are sorted by length and cut into batches, padded on the left; position ids count from the
   first real token, so a padded row gives the tokens that it gives alone.
3. One forward over the prompts (prefill), then one per token. A row that has stopped leaves the
   batch (fast_cpu/decoding.py). Models that this does not suit are decoded in another way
   (inference/decoders.py), which a trial on a few tokens finds out.

Cost: a forward over the prompt tokens plus one per new token. On two CPU cores the number of steps
decides, so large batches pay. Greedy decoding is exact in float32. A bfloat16 copy of the weights
is faster on CPUs with bf16 instructions; where two tokens are nearly as likely it may pick another.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.fast_cpu.decoding import NextToken
from hfllm.inference.decoders import way_of
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
from hfllm.inference.sampling import Sampling, choose, less_repeated

GREEDY = Sampling()


@dataclass
class Answer:
    """A generated answer; `text` is without the stop token, `tokens` counts it."""

    text: str
    tokens: int
    ended: bool  # by a stop token; False: cut at max_new_tokens or at the model's last position
    ids: list[int] = field(default_factory=list)  # generated tokens, with the stop token
    prompt_ids: list[int] = field(default_factory=list)


class Generator:
    """Batched generation with one model.

    Args:
        model: a causal LM; it is put into eval mode.
        tokenizer: the model's tokenizer.
        batch_size: prompts per batch.
        dtype: None uses the model itself, another dtype (torch.bfloat16) a copy of its weights.
        stop_at_newline: a line break ends an answer (base models).
        seed: of the generator that samples.
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
        self.temperature = 0.0  # the default of `answer`
        self.draws = torch.Generator().manual_seed(seed)  # of `stream`
        self.random = torch.Generator(device=model.device).manual_seed(seed)

    def answer(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int = 48,
        temperature: float | None = None,
        label: str = "answers",
    ) -> list[Answer]:
        """Answers in the order of the prompts, one for each.

        A prompt that fills the model's positions gets an empty answer that has not ended.

        Args:
            prompts: message lists, or strings to continue.
            max_new_tokens: longest answer, in tokens, with the stop token.
            temperature: of the sampling; 0 is greedy, None is the generator's own.
            label: name of the progress bar.
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
        self, prompt: Prompt, max_new_tokens: int = 256, sampling: Sampling = GREEDY
    ) -> Iterator[str]:
        """Yield one answer piece by piece as it is generated; whole characters only.

        Args:
            prompt: a message list, or a string to continue.
            max_new_tokens: longest answer, in tokens.
            sampling: how a token is drawn.
        """
        given = encode_prompt(self.tokenizer, prompt)
        ids: list[int] = []
        seen = list(given)

        def next_token(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            logits = less_repeated(logits, sampling.repetition_penalty, seen)
            token = choose(logits, [sampling], [self.draws])
            seen.append(int(token))
            return token

        shown = ""
        for _, token in self._decode([given], max_new_tokens, next_token):
            ids.append(token)
            text = self._finish(ids, []).text
            if text.endswith("\ufffd"):  # the last character still lacks bytes
                continue
            yield text[len(shown) :]
            shown = text
        yield self._finish(ids, []).text[len(shown) :]

    def draw(
        self,
        prompts: list[list[int]],
        max_new_tokens: int,
        sampling: Sampling,
        streams: Sequence[torch.Generator],
    ) -> list[Answer]:
        """One sampled answer to each prompt of one batch, each from a random stream of its own.

        An answer depends on its own prompt and stream, not on the rows beside it, but for the
        rounding of its logits: where the draw falls on the border of two tokens within 1e-6, the
        other one may come in another batch.

        Args:
            prompts: token ids of one batch; a prompt may stand there several times.
            max_new_tokens: longest answer, in tokens, with the stop token.
            sampling: how tokens are drawn.
            streams: one CPU generator for each prompt (`sampling.stream`).
        """
        generated: list[list[int]] = [[] for _ in prompts]

        def next_token(rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return choose(logits, [sampling] * len(logits), [streams[i] for i in rows.tolist()])

        for row, token in self._decode(prompts, max_new_tokens, next_token):
            generated[row].append(token)
        return [self._finish(new, prompt) for new, prompt in zip(generated, prompts, strict=True)]

    def decode(
        self, prompts: list[list[int]], max_new_tokens: int, temperature: float = 0.0
    ) -> Iterator[tuple[int, int]]:
        """Yield (row, token) for each new token of each row, the stop token included.

        Args:
            prompts: token ids of one batch.
            max_new_tokens: upper bound for each row.
            temperature: of the sampling; 0 is greedy.
        """

        def next_token(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return self._pick(logits, temperature)

        yield from self._decode(prompts, max_new_tokens, next_token)

    @torch.inference_mode()
    def _decode(
        self, prompts: list[list[int]], max_new_tokens: int, next_token: NextToken
    ) -> Iterator[tuple[int, int]]:
        def is_done(_: torch.Tensor, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            return self.stops[token] | (position + 2 >= self.max_positions)

        way = way_of(self.model)
        yield from way(self.model, prompts, max_new_tokens, next_token, is_done)

    def _pick(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        if temperature <= 0:
            return logits.argmax(-1)
        chances = (logits.float() / temperature).softmax(-1)
        return torch.multinomial(chances, 1, generator=self.random).squeeze(1)

    def _finish(self, generated: list[int], prompt: list[int]) -> Answer:
        """The text before the stop token; of a newline token, what precedes the line break."""
        ended = bool(generated) and bool(self.stops[generated[-1]])
        spoken = generated[:-1] if generated and generated[-1] in self.stop_ids else generated
        text = str(self.tokenizer.decode(spoken, skip_special_tokens=True))
        if self.stop_at_newline:
            text = text.split("\n")[0]
        return Answer(text, len(generated), ended, list(generated), prompt)
