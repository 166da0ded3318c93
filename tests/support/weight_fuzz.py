"""Damaged weight, state and mean files: files of each format, random changes of their bytes, and the permitted results.

A reader raises a NetdefError of one line with the name of the file, or returns arrays no larger than the file;
`verdict` returns which.  The test in `interop/test_fuzz.py` runs a few mutations, `fuzzing/fuzz_weights.py` many.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

import netdef
from netdef.interop import read_weights
from netdef.interop.means import read_mean, write_mean
from netdef.interop.solver_state import read_state, write_state
from netdef.interop.weights import match, read_entries
from netdef.language.errors import printable

Arrays = dict[str, list[np.ndarray]]


def state_arrays(path: Path) -> Arrays:
    state = read_state(path)
    return {f"history of {state.iteration}": [stored.read() for stored in state.history]}


def own_arrays(path: Path) -> Arrays:
    return {entry.name: [stored.read() for stored in entry.arrays if stored] for entry in read_entries(path)}


READERS = {
    "caffemodel": read_weights,
    "caffemodel.h5": own_arrays,
    "npz": read_weights,
    "safetensors": read_weights,
    "solverstate": state_arrays,
    "solverstate.h5": state_arrays,
    "binaryproto": lambda path: {"mean": [read_mean(path)]},
}
WEIGHTS = ("caffemodel", "caffemodel.h5", "npz", "safetensors")


def files_of(model: netdef.Model, folder: Path) -> dict[str, Path]:
    """Writes a file of each format and returns the paths by format."""
    made = {kind: folder / f"whole.{kind}" for kind in READERS}
    for kind in WEIGHTS:
        model.save_weights(made[kind])
    history = [a for arrays in model.get_weights().values() for a in arrays]
    for kind in ("solverstate", "solverstate.h5"):
        write_state(made[kind], 15, history, "s.caffemodel")
    write_mean(made["binaryproto"], history[-2][None])
    return made


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Returns the data with up to four random changes of bytes, bits or lengths, or truncated."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = min(int(len(changed) * rng.random() ** 2), max(len(changed) - 1, 0))  # often in the header
        kind = rng.randrange(7)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            changed[at : at + 1] = bytes([changed[at] ^ 1 << rng.randrange(8)]) if changed else b""
        elif kind == 2:
            changed[at : at + rng.choice((1, 2, 4, 8))] = b"\xff" * rng.choice((1, 2, 4, 8))
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 5:
            length = rng.randrange(1, 64)
            changed[at:at] = changed[rng.randrange(len(changed) or 1) :][:length]
        else:
            del changed[at:]
    return bytes(changed)


def verdict(kind: str, path: Path, wanted: Arrays, net: Any = None) -> str:
    """Reads a damaged file and returns the result: "refused", "equal", "values" (other values of the same names and
    shapes), or "shapes" (other names or shapes, which a net does not load silently).  AssertionError for a result that
    is not permitted."""
    try:
        arrays = READERS[kind](path)
    except netdef.NetdefError as error:
        assert str(error).startswith(printable(str(path))) and "\n" not in str(error), (
            f"not one line that names the file: {error}"
        )
        return "refused"
    every = [blob for blobs in arrays.values() for blob in blobs]
    assert all(blob.dtype == np.float32 for blob in every)
    assert sum(blob.size for blob in every) <= path.stat().st_size, "more values than the file can contain"
    if _shapes(arrays) != _shapes(wanted):
        _not_in_silence(kind, path, net)
        return "shapes"
    same = all(_bytes(a) == _bytes(b) for name in wanted for a, b in zip(arrays[name], wanted[name], strict=True))
    assert same or kind != "npz", "the checksums of an .npz were not verified"
    return "equal" if same else "values"


def _bytes(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # to compare bits, without a copy


def _shapes(arrays: Arrays) -> dict[str, list[tuple[int, ...]]]:
    return {name: [blob.shape for blob in blobs] for name, blobs in arrays.items()}


def _not_in_silence(kind: str, path: Path, net: Any) -> None:
    """A net rejects weights of other names or shapes, or reports which of its layers were not loaded."""
    if kind not in WEIGHTS or net is None:
        return
    try:
        found = match(net, path)
    except netdef.NetdefError as error:
        assert "\n" not in str(error)
        return
    for owner, (weight, _) in found.arrays.items():
        assert found.read(owner).shape == weight.shape
