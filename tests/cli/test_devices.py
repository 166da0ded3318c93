"""`netdef devices`: the devices that JAX finds, as text and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import jax
import jaxlib
import pytest

VERSIONS = f"jax {jax.__version__}, jaxlib {jaxlib.__version__}"
EXTRAS = 'pip install "jax[cuda13]", "jax[cuda12]" or "jax[tpu]"'


def device(
    number: int, platform: str, kind: str, memory: int | None = None, process: int = 0, coords: object = None
) -> SimpleNamespace:
    stats = None if memory is None else {"bytes_limit": memory, "bytes_in_use": 1}
    return SimpleNamespace(
        id=number, platform=platform, device_kind=kind, memory_stats=lambda: stats, process_index=process, coords=coords
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch):
    """Makes jax.devices return these devices."""
    return lambda *devices: monkeypatch.setattr(jax, "devices", lambda: list(devices))


def test_this_machine(netdef):
    done = netdef("devices")
    assert (done.code, done.err) == (0, "")
    first, *lines = done.out.splitlines()
    assert first == VERSIONS
    assert [line.split()[:2] for line in lines[: len(jax.devices())]] == [
        [str(d.id), d.platform] for d in jax.devices()
    ]


def test_json_of_this_machine(netdef):
    done = netdef("devices", "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert (told["jax"], told["jaxlib"]) == (jax.__version__, jaxlib.__version__)
    assert [(d["id"], d["platform"], d["kind"]) for d in told["devices"]] == [
        (d.id, d.platform, d.device_kind) for d in jax.devices()
    ]


def test_accelerators_have_their_memory(netdef, found):
    found(device(0, "gpu", "NVIDIA H200", 139 * 2**30), device(1, "gpu", "NVIDIA H200", 3 * 2**29))
    assert netdef("devices").out.splitlines() == [
        VERSIONS,
        "  0  gpu  NVIDIA H200  139.0 GiB",
        "  1  gpu  NVIDIA H200  1.5 GiB",
        "mesh of --devices all: axis `data`, 2 devices (2 NVIDIA H200)",
    ]
    told = json.loads(netdef("devices", "--json").out)
    more = {"platform": "gpu", "kind": "NVIDIA H200", "process": 0, "coordinates": None}
    assert told["devices"] == [
        {"id": 0, "memory_bytes": 139 * 2**30} | more,
        {"id": 1, "memory_bytes": 3 * 2**29} | more,
    ]
    assert told["mesh"] == {"axis": "data", "size": 2, "processes": 1}


def test_the_mesh_of_several_processes(netdef, found):
    """Which device is where; the memory of other processes is not known."""
    tpu = lambda i: device(i, "tpu", "TPU v5 lite", 16 * 2**30, process=i // 2, coords=[i % 2, i // 2, 0])
    found(*(tpu(i) for i in range(4)))
    assert netdef("devices").out.splitlines()[1:] == [
        "  0  tpu  TPU v5 lite  16.0 GiB  at 0,0,0",
        "  1  tpu  TPU v5 lite  16.0 GiB  at 1,0,0",
        "  2  tpu  TPU v5 lite  at 0,1,0",
        "  3  tpu  TPU v5 lite  at 1,1,0",
        "mesh of --devices all: axis `data`, 4 devices (4 TPU v5 lite), 2 processes",
        "  process 0: `data` 0 to 1, device 0, 1",
        "  process 1: `data` 2 to 3, device 2, 3",
    ]


def test_processes_on_one_machine():
    """Those of a run on several hosts; the first one lists the devices."""
    command = [sys.executable, "-m", "netdef", "launch", "-n", "2", "--", "devices"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "mesh of --devices all: axis `data`, 2 devices (2 cpu), 2 processes" in done.stdout
    assert [line.split(",")[0] for line in done.stdout.splitlines()[-3:-1]] == [
        "  process 0: `data` 0",
        "  process 1: `data` 1",
    ]


def test_a_cpu_alone_names_the_extras(netdef, found):
    found(device(0, "cpu", "cpu"))
    *_, line, advice = netdef("devices").out.splitlines()
    assert line == "  0  cpu  cpu" and EXTRAS in advice
    assert json.loads(netdef("devices", "--json").out)["devices"][0]["memory_bytes"] is None


def test_caffes_name_of_the_command(netdef):
    assert netdef("device_query").out == netdef("devices").out


def test_no_device_is_a_line(netdef, monkeypatch):
    def fails():
        raise RuntimeError("Unable to initialize backend 'tpu'\nand more")

    monkeypatch.setattr(jax, "devices", fails)
    done = netdef("devices", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err == "netdef: error: JAX finds no device: Unable to initialize backend 'tpu'\n"
