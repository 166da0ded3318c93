"""List the devices that JAX finds. Training uses the first kind in the list.

netdef devices
netdef devices --json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..language.errors import NetdefError
from ._options import add_json

HELP = "list the CPUs, GPUs and TPUs that JAX finds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import jax
    import jaxlib

    try:
        found = [_facts(device) for device in jax.devices()]
    except RuntimeError as error:  # an incompatible driver, or a requested platform that is missing
        raise NetdefError(f"JAX finds no device: {str(error).splitlines()[0]}") from error
    if args.json:
        print(json.dumps({"jax": jax.__version__, "jaxlib": jaxlib.__version__, "devices": found}, indent=2))
        return 0
    print(f"jax {jax.__version__}, jaxlib {jaxlib.__version__}")
    for facts in found:
        memory = f"  {facts['memory_bytes'] / 2**30:.1f} GiB" if facts["memory_bytes"] else ""
        print(f"{facts['id']:>3}  {facts['platform']:<4} {facts['kind']}{memory}")
    if all(facts["platform"] == "cpu" for facts in found):
        print('no accelerator: pip install "jax[cuda13]", "jax[cuda12]" or "jax[tpu]" if this machine has one')
    return 0


def _facts(device: Any) -> dict[str, Any]:
    stats = device.memory_stats() or {}  # None on CPU
    return {
        "id": device.id,
        "platform": device.platform,
        "kind": device.device_kind,
        "memory_bytes": stats.get("bytes_limit"),
    }
