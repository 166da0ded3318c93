"""The Python layer: code written by the user, imported by module and name.

The imported object is a netdef `Layer`, a function of JAX arrays, or a class in the style of pycaffe (see
`_caffe_class.py`).  Each is wrapped in a `User`, which provides shapes, weights and results.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.parsing.parser import parse
from ..language.source import Source
from ..language.spelling import suggestion
from ..lazy import Array, jax, jnp
from ..schema import Params, build, param, take, unknown_field
from ..shape import Shape, ShapeError, Unavailable, known, show
from ._caffe_class import CaffeClass, CaffeLayer
from ._users_code import failing_as
from .base import Context, Example, Layer, Phase, Weight

Shapes = tuple[Shape, ...]


class User(Protocol):
    """The user's code in a Python layer."""

    def infer(self, bottoms: Shapes) -> list[Shape]: ...

    def weights(self, bottoms: Shapes) -> list[Weight]: ...

    def apply(self, w: tuple[Array, ...], bottoms: tuple[Array, ...], ctx: Context) -> list[Array]: ...


class Python(Layer, type="Python", block="python_param"):
    """Runs Python code of the user: the function or class `layer` of the module `module`.

    The module is searched on the Python path, in the folder of the net and in the working directory.  It is run only
    when the net is run, or with `--trust-python`.  `layer` is

    - a subclass of `netdef.Layer`: `param_str` contains its fields, written as in its block;
    - a function of arrays that JAX can trace, which returns an array or a tuple of arrays; if it has parameters named
      `param_str` or `ctx` (a `netdef.Context`), these are passed too;
    - a class in the style of pycaffe, with setup, reshape, forward and backward on NumPy blobs.

    Bottoms: any.  Tops: as `layer` defines.
    Source: BVLC/caffe include/caffe/layers/python_layer.hpp.
    Differs: shapes are fixed once the net is compiled; in a class in the style of pycaffe, `forward` is called again
    before each `backward`, and a class without bottoms is called for new data at each pass. In the nets of
    `netdef.pycaffe`, shapes may change at each pass, and `forward` is called once, as in Caffe.
    """

    float32 = "the code of users expects it"
    n_bottoms = (0, None)
    n_tops = (0, None)
    of_phase = Phase.TRAIN  # of an instance: the phase of its net

    module: str = param("Python module, as in `import`.")
    layer: str = param("Name of the class or function in the module.")
    param_str: str = param("String that is passed to the class or function.", default="")
    share_in_parallel: bool = param("Unused since Caffe 1.0.", default=False, inert=True)

    examples = (
        Example(
            'layer { name: "sorted" type: "Python" bottom: "x" top: "sorted"\n'
            '        python_param { module: "jax.numpy" layer: "sort" } }',
            {"x": (2, 3)},
        ),
    )

    @property
    def runs_module(self) -> str:
        return self.module

    def in_phase(self, phase: Phase) -> Layer:
        """Returns a layer with an object of its own, because the object of a class has a state and knows the phase."""
        made = self.replace()
        made.__dict__.pop("user", None)
        made.__dict__["of_phase"] = phase
        return made

    @cached_property
    def user(self) -> User:
        """The wrapped object of the module, imported once."""
        path = self.span.source.path if self.span else None
        # absolute, because Python remembers which folder a relative one was
        found = _find(self.module, self.layer, [str(path.parent.absolute())] if path else [])
        if isinstance(found, type) and issubclass(found, Layer):
            return _AsLayer(_fields(found, self))
        if isinstance(found, type) and (hasattr(found, "forward") or issubclass(found, CaffeLayer)):
            given = (self.param_str, self.top, self.propagate_down, self.of_phase.value)
            return CaffeClass(found, self.module, self.name, *given)
        if callable(found) and not isinstance(found, type):
            return _AsFunction(found, self)
        raise ShapeError(
            f"`{self.layer}` of module {self.module} must be a netdef layer, a function, or a class with `forward`.",
            field="layer",
        )

    def infer(self, *bottoms: Shape) -> list[Any]:
        if not all(map(known, bottoms)):
            return [None] * len(self.top)
        with self._failing(bottoms), importing([]):
            tops = self.user.infer(bottoms)
        if len(tops) != len(self.top):
            raise ShapeError(
                f"{self.module}.{self.layer} outputs {len(tops)} tops, but the layer has {len(self.top)}; "
                f"give {len(tops)}.",
                field="layer",
            )
        return tops

    def weights(self, *bottoms: Shape) -> list[Weight]:
        if not all(map(known, bottoms)):
            return []
        with self._failing(bottoms):
            return self.user.weights(bottoms)

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        try:
            with self._failing(tuple(a.shape for a in bottoms)):
                return self.user.apply(w, bottoms, ctx)
        except ShapeError as error:
            raise NetdefError(f"layer `{self.name}`: {error.detail}") from error

    def _failing(self, bottoms: Shapes) -> AbstractContextManager[None]:
        shapes = ", ".join(map(show, bottoms)) or "no bottoms"
        return failing_as(lambda why: f"{self.module}.{self.layer} fails for {shapes}: {why}.")


class _AsLayer:
    """A class derived from netdef's Layer."""

    def __init__(self, layer: Layer):
        self.layer = layer

    def infer(self, bottoms: Shapes) -> list[Shape]:
        _check_count(self.layer, len(bottoms))
        made = self.layer.infer(*bottoms)
        return made if isinstance(made, list) else [made]

    def weights(self, bottoms: Shapes) -> list[Weight]:
        return self.layer.weights(*bottoms)

    def apply(self, w: tuple[Array, ...], bottoms: tuple[Array, ...], ctx: Context) -> list[Array]:
        made = self.layer.apply(w, *bottoms, ctx=ctx)
        return made if isinstance(made, list) else [made]


def _check_count(layer: Layer, given: int) -> None:
    least, most = layer.n_bottoms if isinstance(layer.n_bottoms, tuple) else (layer.n_bottoms, layer.n_bottoms)
    if given < least or (most is not None and given > most):
        wanted = f"{least}" if most == least else f"{least} to {most}" if most is not None else f"{least} or more"
        raise ShapeError(
            f"there are {given} bottoms, but {type(layer).__name__} requires {wanted}; change the number of `bottom`.",
            field="bottom",
        )


def _fields(cls: type[Layer], outer: Python) -> Layer:
    """Returns an instance of the user's class with the fields in `param_str`."""
    report = Report()
    document = parse(Source("param_str", outer.param_str), report)
    own = Params({name: spec for name, spec in cls.params().items() if not spec.beside})
    values, spans = {}, {}
    if document is not None:
        values, spans, rest = take(own, document.body, report)
        for field in rest:
            unknown_field(field, own, cls.tolerated(), report)
    if report.has_errors:
        first = report.diagnostics[0]
        raise ShapeError(f"`param_str`, line {first.line}: {first.message}", field="param_str")
    beside = {name: getattr(outer, name) for name in Layer.params()}
    return build(cls, beside | values, spans, outer.span)


class _AsFunction:
    """A function of JAX arrays."""

    def __init__(self, function: Callable[..., Any], layer: Python):
        self.function, self.layer = function, layer
        try:
            self.takes = set(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # some builtins have no signature
            self.takes = set()

    def infer(self, bottoms: Shapes) -> list[Shape]:
        given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in bottoms]
        made = jax.eval_shape(lambda *arrays: self._call(arrays, _Dry()), *given)
        return [tuple(a.shape) for a in made]

    def weights(self, bottoms: Shapes) -> list[Weight]:
        return []

    def apply(self, w: tuple[Array, ...], bottoms: tuple[Array, ...], ctx: Context) -> list[Array]:
        return self._call(bottoms, ctx)

    def _call(self, bottoms: tuple[Array, ...], ctx: Context) -> list[Array]:
        more = {
            name: value for name, value in (("param_str", self.layer.param_str), ("ctx", ctx)) if name in self.takes
        }
        made = self.function(*bottoms, **more)
        return [jnp.asarray(a) for a in (made if isinstance(made, (tuple, list)) else [made])]


class _Dry:
    """The context of a function that is only traced for its shapes."""

    train = False
    channels_last = False

    def rng(self) -> Array:
        return jax.random.key(0)

    def locate(self, name: str) -> Path:
        return Path(name)

    def update(self, i: int, value: Array) -> None:
        pass


def _find(module: str, name: str, folders: list[str]) -> Any:
    """Returns the object `name` of a module.  Raises Unavailable if a module is missing, and ShapeError if the import
    fails or the name does not exist."""
    cannot = lambda why: f"Python module `{module}` cannot be imported: {why}."
    try:
        with failing_as(cannot, "module", but=ModuleNotFoundError), importing([*folders, os.getcwd()]):
            found: types.ModuleType = importlib.import_module(module)
            if hasattr(found, name):
                return getattr(found, name)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            file = module.replace(".", "/") + ".py"
            raise Unavailable(f"Python module `{module}` not found; put {file} in the folder of the net.") from None
        raise Unavailable(f"Python module `{module}` requires `{missing}`, which is not installed.") from None
    meant = suggestion(name, [n for n in vars(found) if not n.startswith("_")])
    raise ShapeError(f"Python module `{module}` has no `{name}`.{meant}", field="layer")


@contextmanager
def importing(folders: list[str]) -> Iterator[None]:
    """A context in which modules are also found in these folders, and `import caffe` imports netdef.pycaffe."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    finder = None if "caffe" in sys.modules else AsCaffe()
    if finder is not None:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)
        if finder is not None:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name == "caffe" or name.startswith("caffe.")]:
                del sys.modules[name]


class AsCaffe(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports netdef.pycaffe and its modules under the name `caffe`; with `below`, only its modules, if `caffe` is it
    already."""

    def __init__(self, below: types.ModuleType | None = None):
        self.below = below

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if self.below is not None and sys.modules.get("caffe") is not self.below:
            return None
        if name.startswith("caffe.") or (name == "caffe" and self.below is None):
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Returns the module of netdef. It is imported by its name, because it is above this file, and only files of
        users import it here."""
        module = importlib.import_module("netdef.pycaffe" + spec.name.removeprefix("caffe"))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader is self:  # the import has replaced the module's own
            module.__spec__ = spec.loader_state
