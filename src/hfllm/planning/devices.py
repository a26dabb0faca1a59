"""The devices that a plan knows: memory, dense bf16 FLOP/s, with the datasheet they are from.

FLOP/s are those of the tensor cores in bf16 without sparsity, accumulated in float32 (a datasheet
that gives the figure with sparsity alone is halved), at the boost clock: what a training reaches is
a share of them (`--mfu`). Memory is what the driver reports (nvidia-smi), which is less than the
round number of the name. Cards without bf16 (T4) train in float32 unless the recipe asks for fp16.
"""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.recipe.did_you_mean import did_you_mean

MIB = 2**20


@dataclass(frozen=True)
class Device:
    """One accelerator.

    memory: bytes that the driver reports. flops: dense, a second, in bf16 (`bf16`), else in fp16.
    float32: dense, a second, of the general cores. bandwidth: bytes a second of its memory.
    source: of the figures, with its date.
    """

    name: str
    memory: int
    flops: float
    float32: float
    bandwidth: float
    source: str
    bf16: bool = True


def _device(
    name: str, mib: int, tera: tuple[float, float, float], source: str, bf16: bool = True
) -> Device:
    """`tera`: bf16 TFLOP/s, float32 TFLOP/s, TB/s of memory."""
    flops, float32, bandwidth = (value * 1e12 for value in tera)
    return Device(name, mib * MIB, flops, float32, bandwidth, source, bf16)


DEVICES = {
    device.name: device
    for device in (
        _device("a100-40", 40960, (312, 19.5, 1.555), "NVIDIA A100 datasheet, June 2021"),
        _device("a100-80", 81920, (312, 19.5, 2.039), "NVIDIA A100 80GB SXM datasheet, June 2021"),
        _device("h100", 81559, (989.4, 66.9, 3.35), "NVIDIA H100 datasheet (SXM), 2023"),
        _device("h100-pcie", 81559, (756, 51.2, 2.0), "NVIDIA H100 PCIe datasheet, 2022"),
        _device("h200", 143771, (989.4, 66.9, 4.8), "NVIDIA H200 datasheet (SXM), 2024"),
        _device("b200", 183359, (2250, 75, 7.7), "NVIDIA HGX B200 datasheet / 8, 2025"),
        _device("l4", 23034, (121, 30.3, 0.3), "NVIDIA L4 datasheet, 2023"),
        _device("l40s", 46068, (362, 91.6, 0.864), "NVIDIA L40S datasheet, 2023"),
        _device("a10g", 23028, (70, 35, 0.6), "NVIDIA A10G datasheet for AWS, February 2022"),
        _device("t4", 15360, (65, 8.1, 0.32), "NVIDIA T4 datasheet (fp16), 2019"),
        _device("3090", 24576, (71, 35.6, 0.936), "NVIDIA GA102 whitepaper, 2020"),
        _device("4090", 24564, (165.2, 82.6, 1.008), "NVIDIA Ada whitepaper, 2022"),
        _device("5090", 32607, (209.5, 104.8, 1.792), "NVIDIA RTX Blackwell whitepaper, 2025"),
        _device("rtx6000-pro", 97887, (503.8, 126, 1.792),
                "NVIDIA RTX PRO Blackwell whitepaper (workstation), 2025"),
    )
}  # fmt: skip
SYNONYMS = {"h100-sxm": "h100", "a100": "a100-80", "h200-sxm": "h200", "rtx3090": "3090",
            "rtx4090": "4090", "rtx5090": "5090", "rtx-6000-pro": "rtx6000-pro"}  # fmt: skip


def device_named(name: str) -> Device:
    """The device of that name; ValueError with the nearest name and all that are known."""
    key = name.strip().lower().replace("_", "-").replace(" ", "-")
    key = SYNONYMS.get(key, key)
    if key not in DEVICES:
        hint = did_you_mean(key, [*DEVICES, *SYNONYMS])
        raise ValueError(f"--gpu: no device '{name}' is known.{hint} Known: {', '.join(DEVICES)}")
    return DEVICES[key]


def device_called(reported: str) -> Device | None:
    """The device of a name that torch reports ("NVIDIA H100 80GB HBM3"), or None."""
    words = (
        reported.lower().replace("nvidia", "").replace("geforce", "").replace("rtx", " ").split()
    )
    joined = "-".join(words)
    for prefix, name in (
        ("h100-pcie", "h100-pcie"), ("h100", "h100"), ("h200", "h200"), ("b200", "b200"),
        ("a100-sxm4-40gb", "a100-40"), ("a100-pcie-40gb", "a100-40"), ("a100", "a100-80"),
        ("l40s", "l40s"), ("l4", "l4"), ("a10g", "a10g"), ("tesla-t4", "t4"), ("t4", "t4"),
        ("3090", "3090"), ("4090", "4090"), ("5090", "5090"), ("pro-6000-blackwell", "rtx6000-pro"),
    ):  # fmt: skip
        if joined == prefix or joined.startswith(f"{prefix}-"):
            return DEVICES[name]
    return None
