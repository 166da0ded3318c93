"""Export of a trained net to StableHLO, including its weights, as a file of `jax.export` that needs no netdef or Flax.

function = jax.export.deserialize(Path("model.stablehlo").read_bytes())
function.call({"data": images})            # {top: array}, for any number of images
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from jax import export

from ..files import write_atomically
from ..forward import forward
from ..graph import Net
from ..language.errors import NetdefError
from ..lazy import need
from .any_batch import check_any_batch
from .entries import used

PLATFORMS = ("cpu", "cuda", "tpu")


def export_stablehlo(model: Any, path: str | Path, any_batch: bool = True) -> None:
    """Writes the function {input: array} -> {output: array} of a model of phase TEST.

    With `any_batch`, the first axis of the inputs may have any size, the same for all inputs. Raises NetdefError if the
    net needs a fixed batch size, and if flatbuffers is not installed."""
    net: Net = model.net
    used(net, "exported")
    need("flatbuffers", f"{path}: writing StableHLO")  # jax.export uses it to serialize
    if any_batch:
        check_any_batch(net, path)
    weights = model.arrays()

    def run(inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        blobs = forward(net, weights, inputs, jax.random.key(0)).blobs
        return {name: blobs[name] for name in net.outputs}

    try:
        exported = export.export(jax.jit(run), platforms=PLATFORMS)(_specs(net, any_batch))
    except Exception as error:  # JAX raises many types
        size = "any batch size" if any_batch else "this batch size"
        remedy = "; fix the batch size with --batch N, or any_batch=False" if any_batch else ""
        why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise NetdefError(f"{path}: the net cannot be exported for {size} ({why}){remedy}") from error
    write_atomically(Path(path), lambda aside: aside.write_bytes(exported.serialize()))


def _specs(net: Net, any_batch: bool) -> dict[str, jax.ShapeDtypeStruct]:
    scope = export.SymbolicScope()
    specs = {}
    for name in net.inputs:
        shape: tuple[Any, ...] = net.blobs[name].shape or ()
        if any_batch and shape:
            rest = ", ".join(map(str, shape[1:]))
            shape = tuple(export.symbolic_shape(f"batch, {rest}" if rest else "batch,", scope=scope))
        specs[name] = jax.ShapeDtypeStruct(shape, "float32")
    return specs
