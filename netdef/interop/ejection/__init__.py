"""`netdef eject`: writes a compiled net as Flax source that runs without netdef, and its weights as a separate file.

The source begins with the model, which has one line per layer with the shape of its output. The functions and modules
that it uses follow, copied from `parts`. On a CPU, the results equal those of netdef bit for bit.
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

from ...files import locator, write_atomically
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

WIDTH = 100  # longer lines get no comment

LOAD = '''\
def load(path: str | Path | None = None) -> {name}:
    """Returns the model with the weights of an .npz file, by default the one next to this file."""
    model = {name}()
    with np.load(path or Path(__file__).with_suffix(".npz")) as arrays:
        for key in arrays.files:
            module, field = key.split("/")
            getattr(getattr(model, module), field)[...] = jnp.asarray(arrays[key])
    return model
'''


def eject(model: Any, path: str | Path) -> Path:
    """Writes a model of phase TEST to `path` (a .py file) and its weights to an `.npz` next to it. Returns the path of
    the weights.

    Raises NetdefError for layers that cannot be ejected, for paths that cannot be written, and if the `.npz` exists but
    the `.py` does not, because it is then an unrelated file."""
    path = Path(path)
    beside = path.with_suffix(".npz")
    if path.suffix != ".py":
        raise NetdefError(f"{path}: the name of the source file must end in .py")
    if beside.exists() and not path.exists():
        raise NetdefError(f"{beside}: the file exists already, and the weights would replace it; choose another name")
    text, arrays = source_of(model.net, model.get_weights(), path.stem)

    def write_arrays(aside: Path) -> None:
        with open(aside, "wb") as file:  # because numpy.savez appends .npz to a file name
            np.savez(file, **arrays)

    write_atomically(beside, write_arrays)
    write_atomically(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    return beside


def source_of(net: Net, weights: dict[str, list[np.ndarray]], stem: str = "model") -> tuple[str, dict[str, Any]]:
    """Returns the source of the model, and the arrays that it loads, for the layers in `weights`."""
    used(net, "ejected")
    body = _Body(net)
    held, made = _modules(body)
    lines, arrays, uses = [], {}, {"run": None}
    for node, layer in body.layers:
        uses |= dict.fromkeys((*layer.uses, *(["without_empty_rows"] if node.layer.pads_rows else [])))
        module = held.get(node.name, "")
        arrays |= _arrays(node, layer, module, weights[node.name]) if node.name in weights else {}
        lines.append(body.line(node, layer, module))
    classes, imported = copied([getattr(parts, use) for use in uses])
    needed = imported | {"jax", "jnp", "np", "nnx", "Path"}
    head = _head(body, stem, sorted(needed))
    text = "\n\n\n".join([head, _class(body, made, lines), LOAD.format(name=body.names.class_name).rstrip(), *classes])
    return text.strip() + "\n", arrays


class _Names:
    """Unique Python identifiers for layers and blobs."""

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
        """Returns the variable of a blob. In-place layers assign to the same variable again."""
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
    """The layers of a net as source, and whether that source is valid for any batch size."""

    net: Net

    def __post_init__(self) -> None:
        self.names = _Names(self.net)
        self.layers = list(_layers(self.net))
        other = _larger(self.net)
        same = other is not None and [w for _, w in _layers(other)] == [w for _, w in self.layers]
        self.other = other if same else None

    def line(self, node: Node, layer: Written, module: str) -> str:
        """Returns the statement of a layer, followed by the shape as a comment if the line is short enough."""
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
        """Returns a shape such as `(n, 3, 32, 32)`, where n is a batch size that is not fixed."""
        dims = self.net.shapes[value] or ()
        others = dims if self.other is None else self.other.shapes[value] or ()
        shown = [_dim(a, b) for a, b in zip(dims, others, strict=True)]
        return f"({', '.join(shown)}{',' * (len(shown) == 1)})"


def _dim(one: Any, other: Any) -> str:
    """Returns a dimension that is `one` for some batch size, and `other` for a batch size larger by 1."""
    if one == other:
        return str(one)
    return f"{other - one} n" if other - one > 1 else "n"


def _layers(net: Net) -> Iterable[tuple[Node, Written]]:
    return [(node, written(net, node)) for node in net.layers if node.tops and not node.layer.is_input]


def _larger(net: Net) -> Net | None:
    """Returns the net with a batch size larger by 1; None if that is invalid or changes the shapes of its weights."""
    shapes = {name: net.blobs[name].shape or () for name in net.inputs}
    more = {name: (shape[0] + 1, *shape[1:]) for name, shape in shapes.items() if shape}
    report = Report()
    nodes, made = infer(net.layers, locator(net.folder), report, {**shapes, **more}, net.trust_python)
    kept = lambda nodes: [[w.shape for w in node.weights or ()] for node in nodes]
    if report.has_errors or kept(nodes) != kept(net.layers):
        return None
    return replace(net, layers=nodes, shapes=made)


def _modules(body: _Body) -> tuple[dict[str, str], list[str]]:
    """Returns the attribute of each layer's module, and the statements that create the modules.

    A layer that shares all its parameters with another one of the same arguments uses the module of that layer; other
    shared parameters are tied one by one."""
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
    """Returns the field of a shared parameter in its owner. Raises NetdefError if its shape is different there."""
    stored = next(node for node in body.net.layers if node.name == owner.layer)
    field = layers[owner.layer].fields[owner.index]
    if not field or (stored.weights or ())[owner.index].shape != weight.shape:
        raise NetdefError(f"layer `{owner.layer}`: a parameter that is shared with another shape cannot be ejected")
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
    size = "for any n" if body.other is not None else "which are fixed"
    return "\n".join(
        [
            f'"""{name}: a Flax model written by `netdef eject`. It requires only jax, flax and numpy.',
            "",
            f"    model = load()  # the weights are in {_plain(stem)}.npz, next to this file",
            f"    model({given})  # returns {{name: array}}; images are (n, c, h, w)",
            "",
            f"Input shapes: {inputs}, {size}." if inputs else "There are no inputs.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            *import_lines(set(needed)),
        ]
    )


def _plain(name: str) -> str:
    """Returns a name without line breaks, backslashes and double quotes, shortened for use in a docstring."""
    return re.sub(r"[\\\"\s]+", " ", name)[:36].strip()


def _class(body: _Body, made: list[str], lines: list[str]) -> str:
    net, names = body.net, body.names
    arguments = ", ".join(f"{names.values[name]}: jax.Array" for name in net.inputs)
    results = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {names.values[name]}" for name in net.outputs if name in names.values
    )
    own = ["    def __init__(self):", *(f"        {line}" for line in made), ""] if made else []
    signature = lambda name: _signature(name, arguments)
    padded = [name for name in net.outputs if name in net.padded]
    given = "".join(f", {names.values[name]}" for name in net.inputs)
    called = f"run(*nnx.split(self){given})"
    called = f"without_empty_rows({called}, {padded!r})" if padded else called
    return "\n".join(
        [
            f"class {names.class_name}(nnx.Module):",
            f'    """{_plain(net.name) or "The net"}: one line per layer."""',
            "",
            *own,
            signature("__call__"),
            '        """Runs `forward` as one compiled program."""',
            f"        {wrapped('return ', called, 8)}",
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
