"""List the devices that JAX finds, and the mesh that they form with --devices all.

Training uses the first device in the list, or with --devices all of them, which divide each batch. On several hosts,
start the command on each of them, with --hosts and --host as for `netdef train`; process 0 lists the devices of all.

  netdef devices
  netdef devices --json
  netdef devices --hosts gpu1:7000 --host 0/2
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from itertools import groupby
from typing import Any

from ..language.errors import NetdefError
from ._options import add_hosts, add_json

HELP = "list the CPUs, GPUs and TPUs that JAX finds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_hosts(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if args.hosts:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when jaxlib is loaded, which warns of its services
    import jax
    import jaxlib

    from ..data.mesh import AXIS, chosen
    from ..training.hosts import Hosts, is_first, join

    join(Hosts.parse(args.hosts, args.host))
    try:
        devices = chosen("all")
    except RuntimeError as error:  # an incompatible driver, or a requested platform that is missing
        raise NetdefError(f"JAX finds no device: {str(error).splitlines()[0]}") from error
    if not is_first():
        return 0
    found = [_facts(device) for device in devices]
    if args.json:
        mesh = {"axis": AXIS, "size": len(found), "processes": len({facts["process"] for facts in found})}
        versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
        print(json.dumps(versions | {"devices": found, "mesh": mesh}, indent=2))
        return 0
    print(f"jax {jax.__version__}, jaxlib {jaxlib.__version__}")
    for facts in found:
        memory = f"  {facts['memory_bytes'] / 2**30:.1f} GiB" if facts["memory_bytes"] else ""
        place = f"  at {','.join(map(str, facts['coordinates']))}" if facts["coordinates"] else ""
        print(f"{facts['id']:>3}  {facts['platform']:<4} {facts['kind']}{memory}{place}")
    if len(found) > 1:
        print("\n".join(_mesh(found, AXIS)))
    if all(facts["platform"] == "cpu" for facts in found):
        print('no accelerator: pip install "jax[cuda13]", "jax[cuda12]" or "jax[tpu]" if this machine has one')
    return 0


def _facts(device: Any) -> dict[str, Any]:
    import jax

    own = device.process_index == jax.process_index()
    stats = (device.memory_stats() if own else None) or {}  # None on CPU
    return {
        "id": device.id,
        "platform": device.platform,
        "kind": device.device_kind,
        "memory_bytes": stats.get("bytes_limit"),
        "process": device.process_index,
        "coordinates": list(getattr(device, "coords", None) or ()) or None,  # of a TPU among its neighbors
    }


def _mesh(found: list[dict[str, Any]], axis: str) -> list[str]:
    """Returns lines about the mesh of all devices: its axis, and, of several processes, the devices of each."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(facts["kind"] for facts in found).items())
    parts = [(process, [*own]) for process, own in groupby(found, lambda facts: facts["process"])]
    several = f", {len(parts)} processes" if len(parts) > 1 else ""
    lines = [f"mesh of --devices all: axis `{axis}`, {len(found)} devices ({kinds}){several}"]
    begin = 0
    for process, own in parts if several else ():
        rows = f"{begin}" if len(own) == 1 else f"{begin} to {begin + len(own) - 1}"
        lines.append(f"  process {process}: `{axis}` {rows}, device {', '.join(str(facts['id']) for facts in own)}")
        begin += len(own)
    return lines
