"""Devices that a net can be compiled for although they are not present: `v5e:2x2` is a TPU v5e of 2 x 2 chips.

The compiler of a TPU is in the package libtpu, that of a GPU in the CUDA plugin of JAX; both compile without the device
(https://docs.jax.dev/en/latest/aot.html). The peak figures are those that the manufacturer publishes, for one device.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..lazy import need

GIB = 2**30


class TargetError(NetdefError):
    """An unknown target, or one that does not suit the net."""


# As printed by XLA for this device (openxla/xla, xla/tools/hlo_opt/gpu_specs): what its compiler asks of a present one.
H100_CONFIG = """
gpu_device_info {
  threads_per_block_limit: 1024  threads_per_warp: 32
  shared_memory_per_block: 49152  shared_memory_per_core: 233472  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048  core_count: 132  fpus_per_core: 128
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000  l2_cache_size: 52428800  clock_rate_ghz: 1.98  device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9  minor: 7 }
runtime_version { major: 12  minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Chip:
    """A kind of device. `options` are those of its compiler, `topology` those that describe it to JAX."""

    title: str
    platform: str  # "tpu" or "cuda"
    memory: int  # bytes
    bandwidth: float  # bytes per second
    peaks: Mapping[str, float]  # FLOP per second of matrix products, by dtype
    source: str
    example: str
    topology: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def peak(self, precision: str) -> tuple[float, str]:
        """Returns the peak of a dtype and the name of the dtype that it is published for. A TPU computes products of
        float32 from several of bfloat16, so the peak of bfloat16 bounds them, too."""
        dtype = precision if precision in self.peaks else "bfloat16"
        return self.peaks[dtype], dtype


_GOOGLE = "https://cloud.google.com/tpu/docs/"
CHIPS = MappingProxyType(
    {
        "v4": Chip(
            *("TPU v4", "tpu", 32 * GIB, 1200e9, {"bfloat16": 275e12}, f"{_GOOGLE}v4", "v4:2x2x1"),
            topology={"chip_config_name": "megacore"},  # the two cores of a chip are one device, as JAX runs them
        ),
        "v5e": Chip("TPU v5e", "tpu", 16 * GIB, 819e9, {"bfloat16": 197e12}, f"{_GOOGLE}v5e", "v5e:2x2"),
        "v5p": Chip("TPU v5p", "tpu", 95 * GIB, 2765e9, {"bfloat16": 459e12}, f"{_GOOGLE}v5p", "v5p:2x2x1"),
        "v6e": Chip("TPU v6e", "tpu", 32 * GIB, 1640e9, {"bfloat16": 918e12}, f"{_GOOGLE}v6e", "v6e:2x2"),
        "h100": Chip(
            # float32: TF32, which JAX uses by default; both without sparsity
            *("NVIDIA H100 SXM", "cuda", 80 * 10**9, 3350e9, {"bfloat16": 989.4e12, "float32": 494.7e12}),
            *("https://resources.nvidia.com/en-us-tensor-core/nvidia-h100-datasheet", "h100:8"),
            topology={"target_config": H100_CONFIG},
            # without these, the compiler would time candidates for each operation on the device
            options={"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False},
        ),
    }
)

# The devices are absent: nothing may be asked of them, of the metadata server of a cloud, or of a GPU that is present.
ENVIRONMENT = {
    "tpu": {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # by several processes, which share no TPU here
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # of this machine, which has none; otherwise libtpu prints warnings
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    },
    "cuda": {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"},
}


@dataclass(frozen=True)
class Target:
    """Connected chips of one kind: `shape` is `2x2` for TPUs and a number for GPUs."""

    name: str
    shape: str

    @property
    def chip(self) -> Chip:
        return CHIPS[self.name]

    @property
    def devices(self) -> int:
        """The number of devices, one for each chip."""
        return math.prod(map(int, self.shape.split("x")))

    def __str__(self) -> str:
        return f"{self.name}:{self.shape}"


def target_of(text: str) -> Target:
    """Parses `v5e:2x2`. TargetError if there is no such chip, or if the shape does not suit it."""
    name, _, shape = text.lower().partition(":")
    if name not in CHIPS:
        known = ", ".join(chip.example for chip in CHIPS.values())
        raise TargetError(
            f"--target {text}: there is no target `{name}`.{suggestion(name, CHIPS)} The targets are {known} (the part "
            "after the colon is the number of chips, and may be another)."
        )
    chip = CHIPS[name]
    form, meant = (r"\d+(x\d+){1,2}", "its chips by row") if chip.platform == "tpu" else (r"\d+", "the number of GPUs")
    if not re.fullmatch(form, shape) or "0" in re.split("x", shape):
        raise TargetError(f"--target {text}: {meant} must follow the name, as in {chip.example}")
    return Target(name, shape)


@contextlib.contextmanager
def environment(target: Target) -> Iterator[None]:
    """Sets the variables that the compilers read, and restores them at the end. Enter it before jax is imported."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT[target.chip.platform]}
    os.environ.update(ENVIRONMENT[target.chip.platform])
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def require_compiler(target: Target) -> None:
    """NetdefError that names the missing package if the compiler for a target is not installed."""
    if target.chip.platform == "tpu":
        need("libtpu", f"--target {target} (the extra `target`)")
        return
    if not any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        jax = importlib.metadata.version("jax")
        packages = " ".join(f"jax-cuda12-{part}=={jax}" for part in ("plugin", "pjrt"))
        raise NetdefError(
            f"--target {target} requires JAX's compiler for CUDA, which is not installed; run "
            f"`pip install --no-deps {packages}` (480 MB; no GPU is needed) in an environment of its own, because "
            "without a GPU this plugin makes other JAX programs print errors"
        )


def devices_of(target: Target) -> list[Any]:
    """Returns the absent devices of a target. TargetError if its compiler does not know this shape."""
    chip = target.chip
    from jax.experimental import topologies

    try:
        if chip.platform == "tpu":
            found = topologies.get_topology_desc(topology_name=str(target), platform="tpu", **chip.topology)
        else:
            found = topologies.get_topology_desc("", "cuda", topology=f"1x1x{target.shape}", **chip.topology)
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TargetError(
            f"--target {target}: the compiler refuses it ({why}); use, for example, {chip.example}"
        ) from error
    return list(found.devices)
