"""Orbax checkpoints: folders with the tree {layer: {"0": array, ...}}, at the top level or under "weights"."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...files import library_writes
from ..entries import Entry, foreign, grouped, in_memory, whole
from ..quiet import quiet
from .base import Contents, Format

_MADE = "checkpoint.whole"


class Orbax(Format, name="orbax"):
    """The checkpoints of JAX programs."""

    endings = (".orbax",)
    dtypes = ("float32", "float16", "bfloat16")

    def read(self, path: Path) -> list[Entry]:
        import orbax.checkpoint as ocp

        try:
            with ocp.StandardCheckpointer() as checkpointer:
                tree = checkpointer.restore(path.absolute())
            tree = tree.get("weights", tree) if isinstance(tree, dict) else tree
            arrays = {f"{layer}/{i}": blob for layer, blobs in tree.items() for i, blob in blobs.items()}
            found = [(key, in_memory(np.asarray(blob, np.float32))) for key, blob in arrays.items()]
            return grouped(found, "an orbax checkpoint of weights")
        except Exception as error:
            raise foreign(path, "an orbax checkpoint of weights", error) from error

    def write(self, path: Path, contents: Contents) -> None:
        import orbax.checkpoint as ocp

        tree = {
            e.name: {str(i): np.asarray(whole(e, i).read(), contents.dtype) for i in range(len(e.arrays))}
            for e in contents.entries
            if e.arrays
        }
        path.mkdir()
        made = path / _MADE  # because orbax writes to a folder beside it first, which it leaves if it fails
        with library_writes(), quiet(), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(made.absolute(), tree)
        for part in made.iterdir():
            part.rename(path / part.name)
        made.rmdir()
