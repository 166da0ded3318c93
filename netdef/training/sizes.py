"""Images whose size changes during training: every ten iterations, one of several `resize_param` is drawn.

A compiled program has static shapes, so each size has a net and a step of its own, which is compiled when its first
batch arrives.  All of them share the state, because no weight may depend on the size.  Tests use the first size.

Source: eric612/MobileNet-YOLO, src/caffe/layers/annotated_data_layer.cpp, load_batch.
Differs: with `iter_size`, or several batches an iteration, a size lasts for ten iterations, not ten batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..files import locator
from ..graph import Net, Node
from ..language.errors import NetdefError
from ..shape import show
from .solver_nets import Nets

ITERATIONS = 10  # of one size


class Sizes(NamedTuple):
    """The nets of a run by the height and width of their images, which are those of one top."""

    top: str
    nets: Mapping[tuple[int, ...], Net]

    def choose(self, of: Callable[[Net], Callable[..., Any]], items: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function that calls, of the functions `of(net)`, the one for the size of the images in
        `items(*arguments)`."""
        made = {size: of(net) for size, net in self.nets.items()}
        return lambda *given: made[items(*given)[self.top].shape[-2:]](*given)

    def __str__(self) -> str:
        return ", ".join(f"{height}x{width}" for height, width in self.nets)


def varies(net: Net) -> bool:
    """Whether the size of the images changes in training."""
    return any(map(_varies, net.layers))


def varying(net: Net, batches: int) -> Net:
    """The net with data layers that draw the size of their images anew after so many batches."""
    layers = (n.but(layer=n.layer.replace(batches_per_size=batches)) if _varies(n) else n for n in net.layers)
    return replace(net, layers=tuple(layers))


def sizes_of(nets: Nets, prepared: Callable[[Net], Net]) -> Sizes | None:
    """The nets for the sizes of the images; None if the size does not change.  CompileError or NetdefError for a size
    that the net cannot have."""
    found = [node for node in nets.train.layers if _varies(node)]
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(f"`{node.name}`" for node in found[:2])
        raise NetdefError(f"layers {names} both have several `resize_param`; only one layer may.")
    layer: Any = found[0].layer
    top, locate = found[0].tops[0].name, locator(nets.train.folder)
    sizes: list[Any] = [layer.of_size(i).shapes(locate)[0][-2:] for i in range(layer.sizes)]
    return Sizes(top, {size: prepared(_resized(nets, top, size)) for size in sizes})


def _varies(node: Node) -> bool:
    return getattr(node.layer, "sizes", 1) > 1


def _resized(nets: Nets, top: str, size: tuple[int, ...]) -> Net:
    """The training net for images of a size."""
    net = nets.train
    data = (value for node in net.layers if node.layer.is_data for value in node.tops)
    shapes = {value.name: shape for value in data if (shape := net.shapes[value]) is not None}
    images = shapes[top]
    if images[-2:] == size or nets.resized is None:
        return net
    found = nets.resized({**shapes, top: (*images[:-2], *size)})
    weights = dict(net.owned)
    for owner, weight in found.owned:
        if weight.shape != weights[owner].shape:
            of = lambda size: "x".join(map(str, size))
            raise NetdefError(
                f"layer `{owner.layer}` has weights {show(weights[owner].shape)} for images of {of(images[-2:])}, "
                f"and {show(weight.shape)} for {of(size)}; where `resize_param` is given several times, no weights may "
                "depend on the size: use convolutions and global pooling, or one size."
            )
    return found
