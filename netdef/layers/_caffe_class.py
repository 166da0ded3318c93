"""Layers written for pycaffe: a class with setup, reshape, forward and backward on NumPy blobs, run from compiled code.

`CaffeClass` provides what such a class expects (blobs with `data` and `diff`, `self.blobs`, `param_str`, `phase`), and
a JAX function with a custom gradient; both are callbacks to Python.
"""

from __future__ import annotations

import math
from typing import Any

from ..fillers import Filler
from ..language.errors import NetdefError
from ..lazy import Array, jax, jnp, np
from ..shape import Shape, show
from ._users_code import failing_as, one_line
from .base import Context, Weight


class OldAxes:
    """pycaffe's names for the axes of a blob with a `shape`; a missing axis is 1."""

    shape: Any

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    num = property(lambda self: self._old_axis(0))
    channels = property(lambda self: self._old_axis(1))
    height = property(lambda self: self._old_axis(2))
    width = property(lambda self: self._old_axis(3))

    def _old_axis(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1


class Blob(OldAxes):
    """A blob as in pycaffe: float32 arrays `data` and `diff`, which users change in place."""

    def __init__(self, *dims: int):
        self.reshape(*dims)

    def reshape(self, *dims: int) -> None:
        dims = tuple(int(d) for d in dims)
        if getattr(self, "shape", None) != dims:
            self.data, self.diff = np.zeros(dims, np.float32), np.zeros(dims, np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape


class Blobs(list):
    """`self.blobs`: the parameters that `setup` adds."""

    def add_blob(self, *dims: int) -> None:
        self.append(Blob(*dims))


class CaffeLayer:
    """The base class `caffe.Layer`."""

    type = "Python"
    param_str = param_str_ = ""  # the second one is the name in Caffe before 2015
    phase = 0
    blobs: Blobs

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        pass

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        pass


class _AsSetUp(Filler):
    """Fills a parameter with the values that the class's `setup` has set."""

    def __init__(self, data: Any):
        super().__init__()
        self.__dict__["data"] = np.array(data, np.float32)

    def fill(self, key: Any, shape: Shape) -> Any:
        return jnp.asarray(self.__dict__["data"])


class CaffeClass:
    """A pycaffe class as the user's code in a Python layer."""

    def __init__(
        self,
        cls: type,
        module: str,
        name: str,
        param_str: str,
        tops: tuple[str, ...],
        propagate_down: tuple[bool, ...],
        phase: int = 0,
    ):
        self.cls, self.name, self.param_str, self.phase = cls, name, param_str, phase
        self.where = f"{module}.{cls.__name__}"
        self.propagate_down = propagate_down
        self.top_names = tops
        self.top = [Blob() for _ in tops]
        self.made: Any = None

    def infer(self, bottoms: tuple[Shape, ...]) -> list[Shape]:
        bottom = [Blob(*shape) for shape in bottoms]
        shapes = ", ".join(map(show, bottoms)) or "no bottoms"
        with failing_as(lambda why: f"the setup of class {self.where} fails for {shapes}: {why}."):
            if self.made is None:
                made = self.cls()
                made.param_str = made.param_str_ = self.param_str
                made.phase, made.blobs = self.phase, Blobs()
                made.setup(bottom, self.top)
                self.made = made
            self.made.reshape(bottom, self.top)
        return [blob.shape for blob in self.top]

    def weights(self, bottoms: tuple[Shape, ...]) -> list[Weight]:
        if self.made is None:
            self.infer(bottoms)
        assert self.made is not None
        return [Weight(blob.shape, _AsSetUp(blob.data)) for blob in self.made.blobs]

    def apply(self, w: tuple[Array, ...], bottoms: tuple[Array, ...], ctx: Context) -> list[Array]:
        floats = tuple(jnp.asarray(a).astype(jnp.float32) for a in (*w, *bottoms))
        shapes = self.infer(tuple(a.shape for a in bottoms))
        tops = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
        split = len(w)

        def forward(*arrays: Any) -> tuple[Any, ...]:
            self._load(arrays[:split], arrays[split:], shapes, ctx.train)
            return tuple(blob.data.copy() for blob in self.top)

        def backward(wanted: tuple[bool, ...], arrays: tuple[Any, ...], d_tops: tuple[Any, ...]) -> tuple[Any, ...]:
            bottom = self._load(arrays[:split], arrays[split:], shapes, ctx.train)
            for blob, diff in zip(self.top, d_tops, strict=True):
                blob.diff = np.array(diff, np.float32)
            for blob in self.made.blobs:
                blob.diff[...] = 0
            self._guard("backward", self.top, list(wanted[split:]), bottom)
            return tuple(blob.diff.copy() for blob in (*self.made.blobs, *bottom))

        if not floats:  # a source of data: called at each pass, so it must not be cached as a constant
            from jax.experimental import io_callback

            return list(io_callback(forward, tops))
        return list(_with_gradient(forward, backward, tops, self._asked(split, len(bottoms)))(*floats))

    def _asked(self, weights: int, bottoms: int) -> tuple[bool, ...]:
        said = self.propagate_down + (True,) * (bottoms - len(self.propagate_down))
        return (*(True,) * weights, *said[:bottoms])

    def _load(self, weights: Any, bottoms: Any, shapes: list[Shape], train: bool) -> list[Blob]:
        """Runs `forward` on these arrays.  Returns the bottoms as blobs; the tops are in `self.top`."""
        self.made.phase = 0 if train else 1
        for blob, array in zip(self.made.blobs, weights, strict=True):
            blob.data = np.array(array, np.float32)
        bottom = [Blob(*np.shape(a)) for a in bottoms]
        for blob, array in zip(bottom, bottoms, strict=True):
            blob.data[...] = array
        self._guard("reshape", bottom, self.top)
        self._guard("forward", bottom, self.top)
        for name, blob, shape in zip(self.top_names, self.top, shapes, strict=True):
            if blob.shape != tuple(shape):
                raise NetdefError(
                    f"layer `{self.name}`: {self.cls.__name__} reshaped `{name}` to {show(blob.shape)}, but the net "
                    f"was compiled for {show(shape)}; shapes must not change between passes"
                )
        return bottom

    def _guard(self, step: str, *arguments: Any) -> None:
        try:
            getattr(self.made, step)(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: see `failing_as`
            raise NetdefError(f"layer `{self.name}`: {self.where}.{step} failed: {one_line(error)}") from error


def _with_gradient(forward: Any, backward: Any, tops: tuple[Any, ...], asked: tuple[bool, ...]) -> Any:
    """Returns a JAX function of arrays from the two callbacks; `asked` says which arrays may get a gradient."""
    call = lambda function, shapes, *arrays: jax.pure_callback(function, shapes, *arrays, vmap_method="sequential")
    run = jax.custom_vjp(lambda *arrays: call(forward, tops, *arrays))

    def ahead(*primals: Any) -> tuple[Any, Any]:
        arrays = tuple(p.value for p in primals)
        # None where no gradient is needed, because the class may raise an error for labels
        wanted = tuple(jnp.zeros(()) if p.perturbed and may else None for p, may in zip(primals, asked, strict=True))
        return run(*arrays), (arrays, wanted)

    def back(kept: Any, d_tops: Any) -> tuple[Any, ...]:
        arrays, wanted = kept
        flags = tuple(flag is not None for flag in wanted)
        dense = tuple(
            jnp.zeros(t.shape, t.dtype) if isinstance(d, jax.custom_derivatives.SymbolicZero) else d
            for d, t in zip(d_tops, tops, strict=True)
        )
        shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
        given = call(lambda a, d: backward(flags, a, d), shapes, arrays, dense)
        return tuple(g if flag else None for g, flag in zip(given, flags, strict=True))

    run.defvjp(ahead, back, symbolic_zeros=True)
    return run
