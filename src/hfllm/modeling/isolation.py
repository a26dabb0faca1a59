"""Find out whether the documents of a packed row see each other in a model, by running it.

Packing restarts `position_ids` at each document. Whether that keeps documents apart is decided in
each model's code: attention masks that never get the positions (OPT, BLOOM, gpt_oss), recurrent
states and convolutions that go on over the border (Mamba, LFM2, Qwen3-Next) and key-value caches
(`use_cache`) mix them without a word. So the built model is run on four rows, as training runs it:

    A B   A' B   C B'   packed, (3, L)      B   alone

B's logits must not change with the document before it and must be those of B alone. They must
change with B's own first token, or the test sees nothing. Of 178 model types either B's logits are
the same to the last bit beside A and A', or they differ by 7% and more of what B's own token does.

Cost: one forward of 66 and one of 11 tokens. Where a model compresses its past in blocks (DeepSeek
V4 every 128 tokens), rows of seq_len tokens are run, too. The place is before accelerate wraps the
model; DeepSpeed ZeRO-3 has sharded it even then, so every process takes part, and the weights are
gathered block by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from hfllm.modeling.eval_mode import eval_mode
from hfllm.recipe.errors import first_line, raise_out_of_memory
from hfllm.runs.processes import is_main_process

TOKENS = 22  # of a probed row: two documents
# Kinds of layers that show at the first token what they mix.
SHOW_AT_ONCE = ("full_attention", "sliding_attention", "chunked_attention")
ROUNDING = 1e-5  # of the largest logit: another order of summation in float32
OF_EFFECT = 0.02  # of the effect of B's own token: the same on a GPU, which rounds more (TF32)


def turn_off_cache(model: torch.nn.Module) -> None:
    """Set `use_cache` to False in every config of the model, as training on packed rows needs it.

    transformers ignores the positions of packed rows while it makes a cache, and reads the config
    of each submodule; its Trainer sets the outermost alone.
    """
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if getattr(config, "use_cache", False):
            config.use_cache = False


def prepare_for_packing(models: Sequence[Any], seq_len: int, shares: bool = True) -> str | None:
    """Turn the models' caches off; on the main process the first `packing_problem`, else None.

    Under FSDP the other processes may have no weights yet; under ZeRO-3 all take part. Nothing is
    tried unless rows hold several documents (`shares`).
    """
    problems = []
    for model in models:
        turn_off_cache(model)
        is_split = any(hasattr(p, "ds_id") for p in model.parameters())
        if shares and (is_main_process() or is_split):
            problems.append(packing_problem(model, seq_len))
    return next(filter(None, problems), None)


def packing_problem(model: Any, seq_len: int) -> str | None:
    """Why documents may not share a row of this model, or None if they do not see each other.

    Args:
        model: a causal LM as it will be trained, before accelerate wraps it.
        seq_len: tokens of a training row.
    """
    lengths = [max(6, min(seq_len, TOKENS))]
    if seq_len > TOKENS and not _shows_at_once(model.config.get_text_config()):
        lengths.append(seq_len)
    try:
        with (
            torch.random.fork_rng(devices=[]),
            eval_mode(model),
            telling_weights(model),
            _gathered(model),
        ):
            return next(filter(None, (_difference(model, n) for n in lengths)), None)
    except Exception as error:  # noqa: BLE001 - however it fails with such a row, nothing is packed
        raise_out_of_memory(error)
        return f"the model does not run on packed rows ({first_line(error)})"


def _difference(model: Any, tokens: int) -> str | None:
    """`packing_problem` for rows of this many tokens."""
    ids = ordinary_tokens(model.config, tokens).to(_device(model))
    before, document = ids[: tokens // 2], ids[tokens // 2 :]
    changed = torch.cat([before[:1], document[1:]])
    rows = [(before, document), (before.roll(1), document), (before.roll(2), changed)]
    places = torch.cat([torch.arange(len(part)) for part in (before, document)]).to(ids)
    packed = torch.stack([torch.cat(row) for row in rows])  # (3, L)
    logits = model(input_ids=packed, position_ids=places.expand(3, -1)).logits
    usual, beside_another, itself = logits[:, len(before) :].float()  # (T, V) each
    alone = model(input_ids=document[None]).logits[0].float()
    rounding = ROUNDING * float(usual.abs().max())
    effect = float((usual - itself)[1:].abs().max())
    if not effect > rounding:
        return "no effect of a token on those after it could be seen"
    if not float((usual - beside_another).abs().max()) <= rounding:
        return "documents of a packed row see each other in this model"
    if not float((usual - alone).abs().max()) <= OF_EFFECT * effect + rounding:
        return "a document in a packed row is not what it is alone in this model"
    return None


@torch.no_grad()
def sees_later_tokens(model: Any) -> bool:
    """Whether the logits of a token change with a later one (XLNet, BERT without is_decoder)."""
    if any(p.numel() == 0 for p in model.parameters()):  # sharded (ZeRO-3): cannot be run alone
        return False
    ids = ordinary_tokens(model.config, 4).to(_device(model))
    rows = torch.stack([ids, torch.cat([ids[:3], ids[:1]])])
    with torch.random.fork_rng(devices=[]), eval_mode(model), telling_weights(model):
        one, other = model(input_ids=rows, use_cache=False).logits[:, :3].float()
    return not float((one - other).abs().max()) <= ROUNDING * float(one.abs().max())


def ordinary_tokens(config: Any, count: int) -> torch.Tensor:
    """Ids (count,) of tokens that are not special, by a generator of their own."""
    config = config.get_text_config()
    special = {value for key, value in config.to_dict().items() if "token" in key and _is_id(value)}
    usual = [i for i in range(min(config.vocab_size, 1024)) if i not in special] or [0]
    order = torch.randperm(len(usual), generator=torch.Generator().manual_seed(0))
    return torch.tensor(usual)[order.repeat(count // len(usual) + 1)[:count]]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


@contextmanager
def telling_weights(model: torch.nn.Module) -> Iterator[None]:
    """Weights under which an effect of any part of the model can be seen in its logits.

    Newly initialised ones hide it: LFM2's convolutions add a thousandth of what attention adds.
    Matrices are scaled up by powers of two, which is undone exactly, until they keep the variance
    of their input; what is zero throughout (a head, a gate) is filled, and is zero again after it.
    """
    before: list[tuple[torch.Tensor, float]] = []  # a weight, and what takes it back
    random = torch.Generator(device=_device(model)).manual_seed(0)
    try:
        for weight in (p.data for p in model.parameters() if p.is_floating_point() and p.numel()):
            size = float(weight.norm()) / weight.numel() ** 0.5  # root mean square
            if size == 0:
                before.append((weight, 0.0))
                weight.normal_(std=0.05, generator=random)
            elif weight.dim() > 1 and math.isfinite(size):
                factor = 2.0 ** max(0, round(math.log2(weight[0].numel() ** -0.5 / size)))
                before.append((weight, 1 / factor))
                weight.mul_(factor)
        yield
    finally:
        for weight, factor in before:
            weight.mul_(factor) if factor else weight.zero_()


def _shows_at_once(config: Any) -> bool:
    """Whether a few tokens show what layers mix, as far as the config says."""
    return all(kind in SHOW_AT_ONCE for kind in getattr(config, "layer_types", None) or [])


@contextmanager
def _gathered(model: torch.nn.Module) -> Iterator[None]:
    """Under ZeRO-3: gather the weights of a block while it runs, all others at once."""
    if not any(hasattr(p, "ds_id") for p in model.parameters()):
        yield
        return
    from deepspeed import zero

    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    blocks = {block for each in lists for block in each}
    blocks -= {inner for block in blocks for inner in block.modules() if inner is not block}
    in_blocks = {p for block in blocks for p in block.parameters()}
    open_blocks: dict[torch.nn.Module, Any] = {}

    def gather(block: torch.nn.Module, *_: Any) -> None:
        own = zero.GatheredParameters(list(block.parameters()))
        own.__enter__()
        open_blocks[block] = own

    def release(block: torch.nn.Module, *_: Any) -> None:
        open_blocks.pop(block).__exit__(None, None, None)

    with ExitStack() as stack:
        others = [p for p in model.parameters() if p not in in_blocks]
        stack.enter_context(zero.GatheredParameters(others))
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(gather).remove)
            stack.callback(block.register_forward_hook(release).remove)
        try:
            yield
        finally:
            for block in list(open_blocks):  # of a forward pass that failed
                release(block)
