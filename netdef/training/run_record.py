"""`run.json`: the settings, device, versions and duration of a run, for reports.

    {"name": "Digits", "file": "/home/me/digits.net", "beside": "../../digits.net", "nets": [], "folder": "/home/me",
     "up": "../..", "settings": {}, "seed": 1, "max_iter": 600, "batch": 64, "parameters": 12298,
     "data": {"train": {"digits": {"records": 1397, "files": 1, "bytes": 365088, "sha256": "..."}}, "test": {...}},
     "sittings": [{"began": "2026-01-31T12:00:00.000000Z", "from": 0, "to": 600, "seconds": 21.4, "ended": "max_iter",
                   "device": "cpu", "devices": 1, "machine": {...}, "versions": {...}}]}

`folder` is that of the net, to which its paths are relative; `beside` and `up` are `file` and `folder` relative to the
run. `nets` are the files that a solver names. `data` has a fingerprint for each data layer (see `data/stamps.py`).
A sitting is one start of the program: a resumed run has several, and a sitting without `to` was killed.  The host name
and the user name are not recorded.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .._version import __version__
from ..files import write_text_atomically
from .events import Event, Finished, Started
from .solver_nets import Nets

RUN = "run.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


class RunRecord:
    """An event listener that writes `run.json` when a run starts and when it ends."""

    def __init__(self, nets: Nets, folder: Path):
        self.nets, self.path = nets, folder / RUN
        self.told: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            before = read(self.path) if event.resumed_from else {}
            self.told = self._facts(event) | {"sittings": [*before.get("sittings", ()), _sitting(event)]}
            self._write()
        elif isinstance(event, Finished) and self.told:
            self.told["sittings"][-1] |= {
                "to": event.iteration,
                "seconds": round(event.seconds, 3),
                "ended": event.why,
            }
            self._write()

    def _facts(self, event: Started) -> dict[str, Any]:
        return {
            "name": event.name,
            "file": str(self.nets.file.absolute()) if self.nets.file else None,
            **self._places(),
            "settings": dict(self.nets.settings),
            "seed": event.seed,
            "max_iter": event.max_iter,
            "data": event.data,
            "batch": event.batch,
            "parameters": event.parameters,
        }

    def _places(self) -> dict[str, Any]:
        """The user's files, and the folder to which the paths in the net are relative."""
        nets = self.nets
        folder, run = (nets.train.folder or Path()).absolute(), self.path.parent.absolute()
        return {
            "beside": _relative(nets.file.absolute(), run) if nets.file else None,
            "nets": [str(s.path.absolute()) for s in nets.sources if s.path and s.path != nets.file],
            "folder": str(folder),
            "up": _relative(folder, run),
        }

    def _write(self) -> None:
        write_text_atomically(self.path, json.dumps(self.told, indent=1, default=str) + "\n")


def _relative(path: Path, start: Path) -> str | None:
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # another drive of Windows
        return None


def read(path: Path) -> dict[str, Any]:
    """Reads a `run.json`; empty if it is missing or damaged, because it is not needed to resume a run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sitting(event: Started) -> dict[str, Any]:
    return {
        "began": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",  # small nets are trained several times a second
        "from": event.iteration,
        "device": event.device,
        "devices": event.devices,
        "machine": machine(),
        "versions": {
            "netdef": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def device() -> str:
    """The name of the device that jax computes on."""
    import jax

    first = jax.devices()[0]
    return f"{first.platform} {first.device_kind}" if first.platform != "cpu" else "cpu"


def machine() -> dict[str, Any]:
    """The operating system, the processor, its cores and the memory in bytes, as far as they are known."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.platform(), "processor": _processor(), "cores": cores, "memory_bytes": pages}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
