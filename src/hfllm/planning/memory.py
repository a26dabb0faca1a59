"""Memory of one device while a step trains, part by part, by arithmetic.

Parts, in bytes (P parameters, P' of them trained, n processes; e bytes of an activation: 2 in bf16
or fp16, 4 in float32). What the libraries of this project do, and not the textbook's mixed
precision: weights are float32 and autocast makes the copies; DeepSpeed alone keeps bf16 weights
beside float32 masters.

- weights 4 P; FSDP 4 P / n; ZeRO-1 and 2 in bf16 2 P, ZeRO-3 2 P / n
- 16-bit copies 2 P: autocast's, kept until the backward pass; FSDP: the units gathered at a time
- gradients 4 P' (DDP 8 P': its buckets are copies; ZeRO-1 2 P', ZeRO-2, ZeRO-3 2 P' / n, and the
  communication buckets of DeepSpeed; FSDP 4 P' / n)
- optimizer states: AdamW 8 P' (ZeRO-1 and above 12 P' / n with the masters; FSDP 8 P' / n)
- activations: what autograd keeps of a block (below), of every layer; with checkpointing the input
  of each block, and one block whole
- logits of the positions that are scored
- reference, other frozen models, critic: whole models of about the same size
- the key-value cache while answers are sampled: 2 x layers x key width a token

They are not all there at once. The peak is the highest of five moments: the loss (all activations
and logits; gradients only where they are accumulated), the end of the backward pass (gradients and
16-bit copies, one block's activations), the optimizer's update, the sampling of answers, and the
merging of an adapter into a copy of the weights.

Sources: Rajbhandari et al. 2020 (ZeRO), section 3; Korthikanti et al. 2022 (activations), section
4, here counted for Llama's blocks with fused attention by what autograd keeps (a test compares);
torch.distributed, DeepSpeed 0.19 and accelerate 1.x as read in their source. Measured beside
predicted: docs/plan.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfllm.planning.strategy import ONE_DEVICE, Strategy
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import (
    CONTEXT,
    GIB,
    ModelSize,
    activations,
    block_bytes,
    logits_at_once,
)

LIBRARIES = int(0.59 * GIB)  # resident on a CPU: imports 0.46, data and oneDNN (measured)
# On a CPU the heap keeps freed blocks of less than 32 MB between those that are in use, so what a
# pass takes is more than its tensors; peft makes more of them. A GPU's allocator counts tensors.
GAPS_FULL, GAPS_ADAPTER = 1.5, 1.65
LOGIT_BYTES_CPU, LOGIT_BYTES_GPU = 18, 14  # a position, unless a fused head takes them in slices
GATHERED = 2  # units of FSDP and layers of ZeRO-3 that are whole at a time: this and the next
DEEPSPEED_BUCKET = 500_000_000  # elements; two of them where communication overlaps


@dataclass(frozen=True)
class Setup:
    """How a step trains: what its memory depends on besides model and rows.

    rows: of a micro-batch. half: bf16 or fp16. sampled: rows whose answers are written at once.
    state_bytes: of the optimizer, a trained parameter. quantized: the frozen base is in 4 bits.
    """

    rows: int
    half: bool
    checkpointing: bool = False
    accumulates: bool = False
    on_gpu: bool = True
    state_bytes: float = 8.0
    eager: bool = False
    quantized: bool = False
    sampled: int = 0
    sampling_copy: bool = False
    strategy: Strategy = ONE_DEVICE


@dataclass(frozen=True)
class Memory:
    """Bytes of a device by part, those at the peak's moment, and which moment that is."""

    parts: dict[str, int]
    peak: int
    moment: str

    @property
    def allocated(self) -> int:
        """The peak without the runtime's own memory, which torch does not count on a GPU."""
        return self.peak - self.parts.get("CUDA context", 0)


def memory_of(size: ModelSize, row: RowShape, setup: Setup) -> Memory:
    """The memory of one device that trains micro-batches of these rows."""
    fixed = _fixed(size, row, setup)
    passing = _passing(size, row, setup)
    moments = {
        "the loss": {**fixed, **passing},
        "the end of the backward pass": {**fixed, **_at_the_end(size, row, setup)},
        "the update": {**fixed, "gradients": _gradients(size, row, setup)},
    }
    if row.answer and setup.sampled:
        moments["sampling"] = {**fixed, **_sampling(size, row, setup)}
    if size.adapter and setup.strategy == ONE_DEVICE:
        moments["the merging of the adapter"] = {**fixed, **_merging(size, row, setup)}
    moment = max(moments, key=lambda name: sum(moments[name].values()))
    parts = {name: value for name, value in moments[moment].items() if value}
    return Memory(parts, sum(parts.values()), moment)


def _fixed(size: ModelSize, row: RowShape, setup: Setup) -> dict[str, int]:
    """What is there all the time."""
    n = setup.strategy.processes
    engine, whole = setup.strategy, size.parameters
    sharded = n if engine.shards_weights else 1
    masters = engine.is_deepspeed and setup.half
    weights = (2 if masters else 4) * whole // sharded
    if setup.quantized and size.adapter:  # nf4 with double quantisation: 0.5 bytes and constants
        frozen = size.matmul - (size.vocabulary * size.hidden)
        weights = int(0.52 * frozen) + 2 * size.vocabulary * size.hidden + 4 * size.trained
    states = setup.state_bytes + (4 if masters else 0)
    optimizer = int(states * size.trained) // (n if engine.shards_states else 1)
    if engine.offload:
        optimizer = 0
    if engine.offload.startswith("weights"):
        weights = 0
    each_frozen = (2 if masters and engine.shards_weights else 4) * whole // sharded
    others = {
        "reference": row.reference * each_frozen,
        "other frozen models": (row.frozen - row.reference) * each_frozen,
        "critic": (row.copies - 1) * (weights + optimizer),
    }
    runtime = {"CUDA context": CONTEXT} if setup.on_gpu else {"libraries": LIBRARIES}
    found = {"weights": weights}
    if size.adapter and not setup.quantized:
        adapter = min(weights, (2 if masters else 4) * size.trained // sharded)
        found = {"weights": weights - adapter, "adapter": adapter}
    return {**found, "optimizer states": optimizer, **others, **runtime}


def _passing(size: ModelSize, row: RowShape, setup: Setup) -> dict[str, int]:
    """What is there when the loss has been computed."""
    held = setup.accumulates or setup.strategy.is_deepspeed or setup.strategy.name == "DDP"
    tokens = setup.rows * row.tokens
    return {
        "gradients": _gradients(size, row, setup) if held else 0,
        "16-bit copies": row.copies * _copies(size, setup),
        "activations": row.copies * activation_bytes(size, tokens, setup),
        "logits": _logits(size, row, setup),
    }


def _merging(size: ModelSize, row: RowShape, setup: Setup) -> dict[str, int]:
    merged = {"merged weights": 4 * (size.parameters - size.trained)}
    if setup.on_gpu:
        return merged
    kept = _passing(size, row, setup)  # the heap keeps what a pass took, but for the large logits
    return merged | {name: kept[name] for name in ("16-bit copies", "activations")}


def _at_the_end(size: ModelSize, row: RowShape, setup: Setup) -> dict[str, int]:
    one = replace(setup, checkpointing=False)
    layer = activation_bytes(size, setup.rows * row.tokens, one) // max(1, size.layers)
    return {
        "gradients": _gradients(size, row, setup),
        "16-bit copies": row.copies * _copies(size, setup),
        "activations": layer,
    }


def _sampling(size: ModelSize, row: RowShape, setup: Setup) -> dict[str, int]:
    width = 2 if setup.half else 4
    cache = 2 * width * size.layers * size.keys * setup.sampled * row.tokens
    copy = 2 * size.parameters if setup.sampling_copy else 0
    return {
        "key-value cache": cache,
        "16-bit copies": copy or _copies(size, setup),
        "logits": 8 * setup.sampled * size.vocabulary,
    }


def _gradients(size: ModelSize, row: RowShape, setup: Setup) -> int:
    engine, n, copies = setup.strategy, setup.strategy.processes, row.copies
    trained = size.trained * copies
    if engine.is_deepspeed:
        width = 2 if setup.half else 4
        buffers = width * DEEPSPEED_BUCKET * (2 if engine.overlaps else 1) * setup.on_gpu
        own = width * trained // (n if engine.shards_gradients else 1)
        return own + min(buffers, 2 * width * trained)
    if engine.shards_gradients:
        return 4 * trained // n
    return (8 if engine.name == "DDP" and n > 1 else 4) * trained


def _copies(size: ModelSize, setup: Setup) -> int:
    """The weights in 16 bits that the products of a pass are computed with."""
    if not setup.half:
        return 0
    table = size.vocabulary * size.hidden
    if setup.strategy.shards_weights:
        layer = max(0, size.matmul - table) // max(1, size.layers)
        return 2 * (GATHERED * layer + table)
    if setup.strategy.is_deepspeed:
        return 0
    if setup.quantized:  # one matrix is dequantised at a time
        return 2 * size.hidden * size.mlp
    return 2 * size.matmul + (0 if setup.on_gpu else 4 * table)  # oneDNN reorders the head's


def activation_bytes(size: ModelSize, tokens: int, setup: Setup) -> int:
    """Bytes that autograd keeps of the blocks for `tokens` positions, until the backward pass.

    `block_bytes` a token; eager attention keeps its T x T weights too: 4 + 2 e a head and pair of
    positions.
    """
    block = block_bytes(size, setup.half)
    if setup.eager:
        width = 2 if setup.half else 4
        block += (4 + 2 * width) * size.heads * (tokens // max(1, setup.rows))
    gaps = 1.0 if setup.on_gpu else GAPS_ADAPTER if size.adapter else GAPS_FULL
    return int(gaps * activations(size, tokens, block, setup.checkpointing))


def _logits(size: ModelSize, row: RowShape, setup: Setup) -> int:
    """The head's, their float32 copies, log-softmax, and what goes back."""
    at_once = logits_at_once(size, row, setup.rows, setup.on_gpu)
    return (LOGIT_BYTES_GPU if setup.on_gpu else LOGIT_BYTES_CPU) * at_once
