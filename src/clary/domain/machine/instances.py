"""The size of an instance type: vCPU, memory and accelerators as AWS publishes them.

General-purpose families follow a rule (vCPU by size, GiB per vCPU by family); accelerated ones and the odd sizes are written
out. It knows nothing of the machine Clary runs on: `capacity` fits a size to that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Size:
    """`vcpu` as a count, `memory` in bytes. `accelerators` of `accelerator`: gpu | neuron | gaudi | ''. `exact` is false where
    the figure comes from the family's rule because AWS's own page was not at hand."""

    name: str
    vcpu: int
    memory: int
    accelerators: int = 0
    accelerator: str = ""
    exact: bool = True
    cores: float = 0.0  # where it is not a whole number of vCPUs
    burst: float = 0.0  # vCPU that may be borrowed while they are idle
    kept: int = 0  # bytes of workers that never go

    @property
    def gpus(self) -> int:
        return self.accelerators if self.accelerator == "gpu" else 0


# GiB per vCPU of families that follow the rule. ml.c4 and ml.c5n have AWS's odd ratios.
_PER_VCPU: Mapping[str, float] = {
    **dict.fromkeys(
        ("m4", "m5", "m5d", "m6i", "m6g", "m6gd", "m7i", "m7i-flex", "m8g", "m8i", "m8i-flex", "t2", "t3"), 4.0
    ),
    **dict.fromkeys(("c5", "c5d", "c6i", "c6in", "c6g", "c6gd", "c6gn", "c7g", "c7i", "c7i-flex"), 2.0),
    **dict.fromkeys(("c8g", "c8i", "c8i-flex"), 2.0),
    **dict.fromkeys(("r5", "r5d", "r6i", "r6g", "r6gd", "r7i", "r7gd", "r8g", "r8i", "r8i-flex"), 8.0),
    "c4": 1.875,
    "c5n": 2.625,
}

# type -> (vCPU, GiB[, accelerators, kind]); these win over the rule.
_STATED: Mapping[str, tuple[int, float, int, str]] = {
    "t2.medium": (2, 4, 0, ""),
    "t2.large": (2, 8, 0, ""),
    "t3.medium": (2, 4, 0, ""),
    "t3.large": (2, 8, 0, ""),
    "c4.8xlarge": (36, 60, 0, ""),
    "c5n.18xlarge": (72, 192, 0, ""),
    "p2.xlarge": (4, 61, 1, "gpu"),
    "p2.8xlarge": (32, 488, 8, "gpu"),
    "p2.16xlarge": (64, 732, 16, "gpu"),
    "p3.2xlarge": (8, 61, 1, "gpu"),
    "p3.8xlarge": (32, 244, 4, "gpu"),
    "p3.16xlarge": (64, 488, 8, "gpu"),
    "p3dn.24xlarge": (96, 768, 8, "gpu"),
    "p4d.24xlarge": (96, 1152, 8, "gpu"),
    "p4de.24xlarge": (96, 1152, 8, "gpu"),
    "p5.4xlarge": (16, 256, 1, "gpu"),
    "p5.48xlarge": (192, 2048, 8, "gpu"),
    "p5e.48xlarge": (192, 2048, 8, "gpu"),
    "p5en.48xlarge": (192, 2048, 8, "gpu"),
    "p6-b200.48xlarge": (192, 2048, 8, "gpu"),
    "p6-b300.48xlarge": (192, 4096, 8, "gpu"),
    "p6e-gb200.36xlarge": (144, 960, 4, "gpu"),
    "g7e.12xlarge": (48, 512, 2, "gpu"),
    "g7e.24xlarge": (96, 1024, 4, "gpu"),
    "g7e.48xlarge": (192, 2048, 8, "gpu"),
    "trn1.2xlarge": (8, 32, 1, "neuron"),
    "trn1.32xlarge": (128, 512, 16, "neuron"),
    "trn1n.32xlarge": (128, 512, 16, "neuron"),
    "trn2.48xlarge": (192, 2048, 16, "neuron"),
    "inf1.xlarge": (4, 8, 1, "neuron"),
    "inf1.2xlarge": (8, 16, 1, "neuron"),
    "inf1.6xlarge": (24, 48, 4, "neuron"),
    "inf1.24xlarge": (96, 192, 16, "neuron"),
    "inf2.xlarge": (4, 16, 1, "neuron"),
    "inf2.8xlarge": (32, 128, 1, "neuron"),
    "inf2.24xlarge": (96, 384, 6, "neuron"),
    "inf2.48xlarge": (192, 768, 12, "neuron"),
    "dl1.24xlarge": (96, 768, 8, "gaudi"),
}

# GPU families with a regular ladder: GiB per vCPU, GPUs by size (1 where a size is not named), exact?
_GPU_LADDERS: Mapping[str, tuple[float, Mapping[str, int], bool]] = {
    "g4dn": (4.0, {"12xlarge": 4}, True),
    "g5": (4.0, {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}, True),
    "g6": (4.0, {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}, True),
    "g6e": (8.0, {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}, True),
    "g7": (4.0, {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8}, False),
    "g7e": (8.0, {}, True),
}

# Sizes above 4xlarge, where a family has others than these; families of `_STATED` have the sizes that stand there.
_LARGE = ("8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")
_LARGER: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("t2", "t3"), ()),  # nor 4xlarge
    "m4": ("10xlarge", "16xlarge"),
    **dict.fromkeys(("m5", "m5d"), ("12xlarge", "24xlarge")),
    "c4": ("8xlarge",),
    **dict.fromkeys(("c5", "c5d", "c5n"), ("9xlarge", "18xlarge")),
    "g7": (*_LARGE[:2], *_LARGE[3:]),
    **dict.fromkeys(("m6g", "m6gd", "c6g", "c6gd", "c6gn", "c7g", "r6g", "r7gd"), _LARGE[:3]),
    **dict.fromkeys(("m7i-flex", "c7i-flex", "m8i-flex", "c8i-flex", "r8i-flex", "g4dn"), _LARGE[:3]),
    **dict.fromkeys(("r5", "r5d"), _LARGE[:4]),
    **dict.fromkeys(("m6i", "c6i", "r6i"), (*_LARGE[:4], "32xlarge")),
}

# CPU goes with memory as in AWS Lambda, on which serverless endpoints stand: one vCPU for 1,769 MB.
_MB_PER_VCPU = 1769
_SERVERLESS = re.compile(r"^serverless (?P<memory>\d+) MB x (?P<most>\d+)(?:, (?P<kept>\d+) kept)?$")
KEPT = 128 << 20  # bytes that each worker which is kept for a serverless variant is expected to use

_COMPONENT = re.compile(r"^component (?P<cores>[\d.e+]+) cores (?P<memory>\d+) MB (?P<accelerators>\d+) accelerators$")

_SIZED = re.compile(
    r"^(?P<type>\S+)(?: at (?P<millicpu>\d+) millicpu)?(?: with (?P<memory>\d+) MB)?"
    r"(?: up to (?P<burst>\d+) vCPU)?$"
)

_TYPE = re.compile(r"^ml\.(?P<family>[a-z0-9-]+)\.(?P<size>medium|large|(?P<times>\d*)xlarge)$")


def find(name: str) -> Size | None:
    """The size behind `ml.FAMILY.SIZE`; None for a family that is not in the tables."""
    match = _TYPE.match(name)
    if match is None:
        return _serverless(name) or _component(name) or _sized(name)
    family, size = match["family"], match["size"]
    stated = _STATED.get(f"{family}.{size}")
    if stated is not None:
        return Size(name, stated[0], round(stated[1] * GIB), stated[2], stated[3])
    vcpu = {"medium": 1, "large": 2}.get(size) or 4 * int(match["times"] or 1)
    if family in _GPU_LADDERS:
        ratio, gpus, exact = _GPU_LADDERS[family]
        return Size(name, vcpu, round(vcpu * ratio * GIB), gpus.get(size, 1), "gpu", exact)
    if family in _PER_VCPU:
        return Size(name, vcpu, round(vcpu * _PER_VCPU[family] * GIB))
    return None


def larger(name: str) -> str:
    """The next type of the same family that has more memory; "" where there is none."""
    match, now = _TYPE.match(name), find(name)
    if match is None or now is None:
        return ""
    family = match["family"]
    stated = [each.partition(".")[2] for each in _STATED if each.partition(".")[0] == family]
    small = ("large", "xlarge", "2xlarge", *(() if family in ("t2", "t3") else ("4xlarge",)))
    regular = (*small, *_LARGER.get(family, _LARGE))
    sizes = regular if family in _PER_VCPU or family in _GPU_LADDERS else stated
    found = [size for each in sizes if (size := find(f"ml.{family}.{each}")) is not None and size.memory > now.memory]
    return min(found, key=lambda size: size.memory).name if found else ""


def serverless(memory: int, most: int, kept: int = 0) -> str:
    """The name of what a serverless variant may use in all: `memory` MB for each of its `most` predictions at once. So many workers of it
    are `kept`, and their memory with them."""
    return f"serverless {memory} MB x {most}" + (f", {kept} kept" if kept else "")


def kept(name: str) -> int:
    """Workers that `serverless` named as kept."""
    match = _SERVERLESS.match(name)
    return int(match["kept"] or 0) if match else 0


def component(cores: float, memory: int, accelerators: int) -> str:
    """The name of what one copy of an inference component may use; `memory` in MB."""
    return f"component {cores:g} cores {memory} MB {accelerators} accelerators"


def remedy(name: str) -> str:
    """What has more memory than that, as its user asks for it."""
    if _SERVERLESS.match(name):
        return "a variant with a larger MemorySizeInMB"
    return "a component with a larger MinMemoryRequiredInMb" if _COMPONENT.match(name) else "a larger instance type"


def sized(name: str, millicpu: int = 0, memory: int = 0, burst: int = 0) -> str:
    """The name of an instance type that has other CPU (thousandths of a vCPU) or memory (MB) than its own (0: its own), and of as many
    vCPU as `burst` borrows what is idle."""
    name += f" at {millicpu} millicpu" if millicpu else ""
    name += f" with {memory} MB" if memory else ""
    return name + (f" up to {burst} vCPU" if burst else "")


def parts(name: str) -> tuple[str, int, int]:
    """Instance type, thousandths of a vCPU and MB of what `sized` named; what it may borrow is not asked for."""
    match = _SIZED.match(name)
    return (match["type"], int(match["millicpu"] or 0), int(match["memory"] or 0)) if match else (name, 0, 0)


def _sized(name: str) -> Size | None:
    kind, millicpu, memory = parts(name)
    base = find(kind) if kind != name else None
    if base is None:
        return None
    match = _SIZED.match(name)
    size = replace(base, name=name, burst=float(match["burst"] or 0) if match else 0.0)
    if millicpu:
        size = replace(size, vcpu=math.ceil(millicpu / 1000), cores=millicpu / 1000)
    return replace(size, memory=memory << 20) if memory else size


def _component(name: str) -> Size | None:
    match = _COMPONENT.match(name)
    if match is None:
        return None
    cores, accelerators = float(match["cores"]), int(match["accelerators"])
    kind = "gpu" if accelerators else ""
    return Size(name, max(1, int(cores)), int(match["memory"]) << 20, accelerators, kind, cores=cores)


def _serverless(name: str) -> Size | None:
    match = _SERVERLESS.match(name)
    if match is None:
        return None
    memory = int(match["memory"]) * int(match["most"])
    return Size(name, max(1, -(-memory // _MB_PER_VCPU)), memory << 20, kept=int(match["kept"] or 0) * KEPT)
