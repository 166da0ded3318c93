"""`netdef eject`: a compiled net as source of Flax that runs without netdef, and its weights beside it.

The text has the model on top, a line for each layer with the shape of its result, and below it the parts that it is
made of, copied from `parts`.  Results agree with netdef's bit for bit on a CPU.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ...files import locator, written_aside
from ...graph import Net, Node, Owner, Value
from ...language.diagnostics import Report
from ...language.errors import NetdefError
from ...passes.shapes import infer
from ..entries import used
from . import expressions, parts
from .copying import copied, import_lines
from .emitting import EMITTERS, Written, written
from .wrapping import wrapped

__all__ = ["EMITTERS", "eject", "expressions", "source_of"]

WIDTH = 100  # columns after which a line gets no comment

LOAD = '''\
def load(path: str | Path | None = None) -> {name}:
    """The model with its weights, an array `module/field` for each; without a path, of the .npz beside this file."""
    model = {name}()
    with np.load(path or Path(__file__).with_suffix(".npz")) as arrays:
        for key in arrays.files:
            module, field = key.split("/")
            getattr(getattr(model, module), field)[...] = jnp.asarray(arrays[key])
    return model
'''


def eject(model: Any, path: str | Path) -> Path:
    """Write a model of phase TEST as `path` (ends in .py) and its weights as `.npz` beside it; gives the latter.

    NetdefError for layers that have no such form, for paths that cannot be written, and where the `.npz` is there and
    the `.py` is not: it is another file."""
    path = Path(path)
    beside = path.with_suffix(".npz")
    if path.suffix != ".py":
        raise NetdefError(f"{path}: the source of a model ends in .py")
    if beside.exists() and not path.exists():
        raise NetdefError(f"{beside}: this file is there already, and the weights would be written to it; name another")
    text, arrays = source_of(model.net, model.get_weights(), path.stem)

    def write_arrays(aside: Path) -> None:
        with open(aside, "wb") as file:  # numpy.savez would add an ending to a name
            np.savez(file, **arrays)

    written_aside(beside, write_arrays)
    written_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    return beside


def source_of(net: Net, weights: dict[str, list[np.ndarray]], stem: str = "model") -> tuple[str, dict[str, Any]]:
    """(the text of the model, the arrays that it loads: those of the layers that are in `weights`)."""
    used(net, "ejected")
    body = _Body(net)
    held, made = _modules(body)
    lines, arrays, uses = [], {}, {"run": None}
    for node, layer in body.layers:
        uses |= dict.fromkeys(layer.uses)
        module = held.get(node.name, "")
        arrays |= _arrays(node, layer, module, weights[node.name]) if node.name in weights else {}
        lines.append(body.line(node, layer, module))
    classes, imported = copied([getattr(parts, use) for use in uses])
    needed = imported | {"jax", "jnp", "np", "nnx", "Path"}
    head = _head(body, stem, sorted(needed))
    text = "\n\n\n".join([head, _class(body, made, lines), LOAD.format(name=body.names.class_name).rstrip(), *classes])
    return text.strip() + "\n", arrays


class _Names:
    """Python's names for layers and blobs, each once."""

    def __init__(self, net: Net):
        self.taken = {"self", "jax", "jnp", "np", "lax", "nnx", "load", "reduce", "math", *dir(parts)}
        title = net.name.title() if net.name.islower() else net.name
        self.class_name = self._free(re.sub(r"\W+", "", title) or "Net")
        self.modules: dict[str, str] = {}
        self.values: dict[str, str] = {}
        for name in net.inputs:
            self.values[name] = self._free(name)

    def module(self, layer: str) -> str:
        if layer not in self.modules:
            self.modules[layer] = _identifier(layer, {*self.modules.values(), *dir(nnx.Module), "forward"})
        return self.modules[layer]

    def value(self, value: Value) -> str:
        """In-place layers write the same name again, as they do in the net."""
        if value.name not in self.values:
            self.values[value.name] = self._free(value.name)
        return self.values[value.name]

    def _free(self, name: str) -> str:
        made = _identifier(name, self.taken)
        self.taken.add(made)
        return made


def _identifier(name: str, taken: set[str]) -> str:
    made = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "blob"
    made = f"_{made}" if made[0].isdigit() else made
    made = f"{made}_" if keyword.iskeyword(made) else made
    free, n = made, 2
    while free in taken:
        free, n = f"{made}_{n}", n + 1
    return free


@dataclass
class _Body:
    """A net's layers as they are written, and whether that holds for any number of items."""

    net: Net

    def __post_init__(self) -> None:
        self.names = _Names(self.net)
        self.layers = list(_layers(self.net))
        other = _larger(self.net)
        same = other is not None and [w for _, w in _layers(other)] == [w for _, w in self.layers]
        self.other = other if same else None

    def line(self, node: Node, layer: Written, module: str) -> str:
        """The statement of a layer; the shape behind it where there is room."""
        inputs = [self.names.value(v) for v in node.bottoms]
        call = layer.call.replace("{self}", f"self.{module}")
        for i, name in enumerate(inputs):
            call = call.replace(f"{{{i}}}", name)
        tops = ", ".join(self.names.value(v) for v in node.tops)
        if call == tops:
            return ""
        line = wrapped(f"{tops} = ", call, 8)
        shapes = ", ".join(map(self.shape, node.tops))
        return f"{line}  # {shapes}" if "\n" not in line and len(line) + len(shapes) + 12 <= WIDTH else line

    def shape(self, value: Value) -> str:
        """`(n, 3, 32, 32)`, n being the batch where that is open."""
        dims = self.net.shapes[value] or ()
        others = dims if self.other is None else self.other.shapes[value] or ()
        shown = [_dim(a, b) for a, b in zip(dims, others, strict=True)]
        return f"({', '.join(shown)}{',' * (len(shown) == 1)})"


def _dim(one: Any, other: Any) -> str:
    """A dimension that is `one` at some batch and `other` at a batch of one more."""
    if one == other:
        return str(one)
    return f"{other - one} n" if other - one > 1 else "n"


def _layers(net: Net) -> Iterable[tuple[Node, Written]]:
    return [(node, written(net, node)) for node in net.layers if node.tops and not node.layer.is_input]


def _larger(net: Net) -> Net | None:
    """The net with one item more in each input; None where it cannot have that, or not with the same weights."""
    shapes = {name: net.blobs[name].shape or () for name in net.inputs}
    more = {name: (shape[0] + 1, *shape[1:]) for name, shape in shapes.items() if shape}
    report = Report()
    nodes, made = infer(net.layers, locator(net.folder), report, {**shapes, **more}, net.trust_python)
    kept = lambda nodes: [[w.shape for w in node.weights or ()] for node in nodes]
    if report.has_errors or kept(nodes) != kept(net.layers):
        return None
    return replace(net, layers=nodes, shapes=made)


def _modules(body: _Body) -> tuple[dict[str, str], list[str]]:
    """(the attribute that holds each layer's module, the statements that make them).

    A layer that has all its parameters from one other, and is made as that is, is that one; single parameters are tied
    one by one."""
    held: dict[str, str] = {}
    lines: list[str] = []
    layers = {node.name: layer for node, layer in body.layers}
    for node, layer in body.layers:
        if not layer.made:
            continue
        whole = {owner.layer for owner in node.owners}
        other = next(iter(whole)) if len(whole) == 1 else node.name
        in_order = all(owner == Owner(other, i) for i, owner in enumerate(node.owners))
        if other != node.name and in_order and layers[other].made == layer.made:
            held[node.name] = held[other]
            continue
        name = held[node.name] = body.names.module(node.name)
        lines.append(wrapped(f"self.{name} = ", layer.made, 8))
        for field, owner, weight in zip(layer.fields, node.owners, node.weights or (), strict=True):
            if field and owner.layer != node.name:
                lines.append(f"self.{name}.{field} = self.{held[owner.layer]}.{_owned(body, layers, owner, weight)}")
    return held, lines


def _owned(body: _Body, layers: dict[str, Written], owner: Owner, weight: Any) -> str:
    """The field that a tied parameter has where it is stored.  NetdefError if it has another shape there."""
    stored = next(node for node in body.net.layers if node.name == owner.layer)
    field = layers[owner.layer].fields[owner.index]
    if not field or (stored.weights or ())[owner.index].shape != weight.shape:
        raise NetdefError(f"layer `{owner.layer}`: a parameter that is shared under another shape cannot be ejected")
    return field


def _arrays(node: Node, layer: Written, module: str, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
    found = {}
    for field, blob, owner in zip(layer.fields, blobs, node.owners, strict=True):
        if field and owner.layer == node.name:
            flat = node.type in ("BatchNorm", "BN")
            found[f"{module}/{field}"] = blob.reshape(-1) if flat else blob
    return found


def _head(body: _Body, stem: str, needed: list[str]) -> str:
    net, names = body.net, body.names
    first = {v.name: v for node in net.layers if node.layer.is_input for v in node.tops}
    inputs = ", ".join(f"{names.values[name]} {body.shape(first[name])}" for name in net.inputs)
    given = ", ".join(f"{names.values[name]}=..." for name in net.inputs)
    name = _plain(net.name) or "A net"
    size = "for any n" if body.other is not None else "and no other shape"
    return "\n".join(
        [
            f'"""{name}, written by `netdef eject`: a Flax model that needs jax, flax and numpy alone.',
            "",
            f"    model = load()  # weights of {_plain(stem)}.npz, beside this file",
            f"    model({given})  # {{name: array}}; images are (n, c, h, w)",
            "",
            f"Takes {inputs or 'nothing'}, {size}.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            *import_lines(set(needed)),
        ]
    )


def _plain(name: str) -> str:
    """A name as it can stand in any text: in one line, short, and without quotes."""
    return re.sub(r"[\\\"\s]+", " ", name)[:36].strip()


def _class(body: _Body, made: list[str], lines: list[str]) -> str:
    net, names = body.net, body.names
    arguments = ", ".join(f"{names.values[name]}: jax.Array" for name in net.inputs)
    results = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {names.values[name]}" for name in net.outputs if name in names.values
    )
    own = ["    def __init__(self):", *(f"        {line}" for line in made), ""] if made else []
    signature = lambda name: _signature(name, arguments)
    given = "".join(f", {names.values[name]}" for name in net.inputs)
    return "\n".join(
        [
            f"class {names.class_name}(nnx.Module):",
            f'    """{_plain(net.name) or "The net"}: a line for each layer."""',
            "",
            *own,
            signature("__call__"),
            '        """`forward` as one compiled program."""',
            f"        {wrapped('return ', f'run(*nnx.split(self){given})', 8)}",
            "",
            signature("forward"),
            *(f"        {line}" for line in lines if line),
            f"        {wrapped('return ', f'{{{results}}}', 8)}",
        ]
    )


def _signature(name: str, arguments: str) -> str:
    line = f"    def {name}(self, {arguments}) -> dict[str, jax.Array]:"
    if len(line) <= 120:
        return line
    return f"    def {name}(\n        self, {arguments}\n    ) -> dict[str, jax.Array]:"
