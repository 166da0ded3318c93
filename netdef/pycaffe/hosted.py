"""Layers that Python runs between the compiled stretches of a net: classes in the style of pycaffe.

The class works on the blobs of the net themselves, may change the shapes of its tops at each pass, and its exceptions
are raised as they are, with a note that names the layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..graph import Net, Node
from ..language.diagnostics import CompileError
from ..layers._caffe_class import Blobs, CaffeClass
from ..layers.base import Phase
from ..layers.python import Python, importing
from .blobs import Blob


@dataclass(frozen=True)
class Hosted:
    """A layer with its object, the user's own, and the blobs of the net."""

    node: Node
    object: Any
    where: str  # the module and the class
    bottom: list[Blob]
    top: list[Blob]

    def reshape(self) -> None:
        self._run("reshape", self.bottom, self.top)

    def forward(self) -> None:
        self.reshape()
        self._run("forward", self.bottom, self.top)

    def backward(self) -> None:
        """Computes the gradients of the bottoms, in their `diff`, from those of the tops."""
        for blob, reached in zip(self.bottom, self.node.reached, strict=True):
            if reached and blob not in self.top:
                blob.diff[...] = 0
        self._run("backward", self.top, list(self.node.reached), self.bottom)

    def _run(self, step: str, *arguments: Any) -> None:
        with _named(f"layer `{self.node.name}`: {self.where}.{step}"), importing([]):
            getattr(self.object, step)(*arguments)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Adds the place to the traceback of an exception."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {place}")
        raise


@contextmanager
def as_raised() -> Iterator[None]:
    """Raises the exception of a layer's class as it was raised, in place of the error that describes it."""
    try:
        yield
    except CompileError as error:
        cause = error.__cause__
        if cause is None:
            raise
        cause.add_note(str(error))
        raise cause from None


def hosted_layers(net: Net) -> dict[int, CaffeClass]:
    """Returns the layers of classes in the style of pycaffe, by index."""
    users = {i: node.layer.user for i, node in enumerate(net.layers) if isinstance(node.layer, Python)}
    return {i: user for i, user in users.items() if isinstance(user, CaffeClass)}


def host(net: Net, i: int, user: CaffeClass, blobs: dict[str, Blob], parameters: Sequence[Blob]) -> Hosted:
    """Returns a layer whose object works on these blobs and parameters."""
    node, layer = net.layers[i], user.made
    layer.blobs, layer.phase = Blobs(parameters), (Phase.TRAIN if net.phase is Phase.TRAIN else Phase.TEST).value
    bottom, top = ([blobs[v.name] for v in values] for values in (node.bottoms, node.tops))
    return Hosted(node, layer, user.where, bottom, top)
