"""DummyData: tops filled by fillers."""

from __future__ import annotations

from typing import Any

from ...fillers import Constant, Filler
from ...fillers.base import JaxRandom
from ...layers.base import Context, Example, Layer
from ...lazy import Array, jax
from ...schema import Block, param
from ...shape import Shape, ShapeError


class DummyShape(Block):
    """`shape { dim: 1 dim: 3 }`."""

    dim: tuple[int, ...] = param("Size of each axis, batch first.", default=(), at_least=0)


class DummyData(Layer, type="DummyData", block="dummy_data_param"):
    """Tops filled by fillers: constants, or new random numbers in each forward pass.  No input is required.

    Bottoms: none.  Tops: any number, each with its own shape and filler, or all with the same.
    Source: BVLC/caffe src/caffe/layers/dummy_data_layer.cpp.  Differs: nothing.
    """

    family = "data"
    n_bottoms = 0
    n_tops = (1, None)

    data_filler: tuple[Filler, ...] = param("Filler of each top, or one for all; constant 0 if none.", default=())
    shape: tuple[DummyShape, ...] = param("Shape of each top, or one for all.", default=())
    num: tuple[int, ...] = param("Old form of `shape`: first axis.", default=(), at_least=0)
    channels: tuple[int, ...] = param("Old form of `shape`: second axis.", default=(), at_least=0)
    height: tuple[int, ...] = param("Old form of `shape`: third axis.", default=(), at_least=0)
    width: tuple[int, ...] = param("Old form of `shape`: fourth axis.", default=(), at_least=0)

    examples = (
        Example(
            'layer { name: "noise" type: "DummyData" top: "noise"\n'
            '        dummy_data_param { shape { dim: 2 dim: 3 } data_filler { type: "gaussian" std: 0.5 } } }',
            {},
            differentiable=False,
        ),
    )

    def infer(self) -> list[Shape]:
        tops = len(self.top)
        self._count("data_filler", len(self.data_filler), (0, 1, tops))
        old = {name: getattr(self, name) for name in ("num", "channels", "height", "width")}
        if not any(old.values()):
            self._count("shape", len(self.shape), (1, tops))
            return [self._of(self.shape, i).dim for i in range(tops)]
        if self.shape:
            raise ShapeError(
                "`shape` and the old fields `num`, `channels`, `height`, `width` are both given; use `shape`.",
                field="shape",
            )
        for name, values in old.items():
            self._count(name, len(values), (1, tops))
        return [tuple(self._of(values, i) for values in old.values()) for i in range(tops)]

    def apply(self, w: tuple[Array, ...], *, ctx: Context) -> list[Array]:
        made = []
        for i, shape in enumerate(self.infer()):
            filler = self._of(self.data_filler or (Constant(),), i)
            key = jax.random.key(0) if isinstance(filler, Constant) else ctx.rng()
            made.append(filler.fill(JaxRandom(key), shape))
        return made

    def _count(self, field: str, given: int, allowed: tuple[int, ...]) -> None:
        if given not in allowed:
            tops = len(self.top)
            words = f"once or {tops} times" if tops != 1 else "once"
            raise ShapeError(
                f"`{field}` is given {given} times for {tops} tops; give it {words}.", field=field if given else None
            )

    @staticmethod
    def _of(values: Any, i: int) -> Any:
        return values[0] if len(values) == 1 else values[i]
