"""What a user asks for with `hfllm export`: one field an option; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.model_names import is_hub_id

TARGETS = ("gguf", "folder", "vllm", "hub")
ADAPTERS = ("merged", "apart")
FOLDER_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
GGUF_DTYPES = (*FOLDER_DTYPES, "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
OTHER_NAMES = {long: short for short, long in FOLDER_DTYPES.items()} | {
    "fp16": "f16",
    "fp32": "f32",
}
# Made by llama.cpp's own tools: the gguf package can read them only.
LLAMA_QUANTIZE = ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq1", "iq2", "iq3", "iq4", "tq", "mxfp4")


@dataclass(frozen=True)
class Request:
    """The options of `hfllm export`; an unknown target or type is refused when it is made."""

    model: str
    to: str
    out: str
    given_dtype: str | None = None
    force: bool = False
    check: bool = True
    adapter: str = "merged"  # or apart: the adapter alone
    dry_run: bool = False  # for the hub
    public: bool = False  # for the hub
    lm_studio: str | None = None  # PUBLISHER/MODEL, for GGUF

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown target or type, with the nearest one (one line)."""
        if self.to not in TARGETS:
            near = did_you_mean(self.to, TARGETS)
            raise ValueError(f"--to {self.to} is none of {', '.join(TARGETS)}.{near}")
        if self.adapter not in ADAPTERS:
            near = did_you_mean(self.adapter, ADAPTERS)
            raise ValueError(f"--adapter {self.adapter} is none of {', '.join(ADAPTERS)}.{near}")
        if self.adapter == "apart" and self.to == "gguf":
            raise ValueError(
                "--adapter apart: for GGUF the adapter is merged; take --to folder, and for that "
                "folder llama.cpp's convert_lora_to_gguf.py"
            )
        for flag, target in (("dry_run", "hub"), ("public", "hub"), ("lm_studio", "gguf")):
            if getattr(self, flag) and self.to != target:
                raise ValueError(f"--{flag.replace('_', '-')} is for --to {target}; leave it out")
        if self.lm_studio and not is_hub_id(self.lm_studio):
            raise ValueError(
                f"--lm-studio {self.lm_studio} is not PUBLISHER/MODEL; it names folders"
            )
        if self.to == "hub" and not is_hub_id(self.out):
            raise ValueError(f"--out {self.out} is no repository of the hub; write OWNER/NAME")
        if self.dtype in self.dtypes:
            return
        if self.to == "gguf" and self.dtype.startswith(LLAMA_QUANTIZE):
            raise ValueError(
                f"--dtype {self.given_dtype}: these blocks are made by llama.cpp's own tool: "
                f"export with --dtype f16, then `llama-quantize FILE.gguf OUT.gguf "
                f"{self.dtype.upper()}`"
            )
        near = did_you_mean(self.dtype, self.dtypes)
        raise ValueError(f"--dtype {self.given_dtype} is none of {', '.join(self.dtypes)}.{near}")

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The types that the target can have."""
        return GGUF_DTYPES if self.to == "gguf" else tuple(FOLDER_DTYPES)

    @property
    def dtype(self) -> str:
        """The type of the weights: one of `dtypes`."""
        asked = (self.given_dtype or ("f16" if self.to == "gguf" else "bf16")).lower()
        return OTHER_NAMES.get(asked, asked)
