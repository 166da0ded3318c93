"""`caffe.draw`: diagrams of a NetParameter, in which layers are boxes and blobs are octagons.

The layout is that of Graphviz; if it is not installed, a PNG is drawn with Pillow, with a row for each step of the net.
`netdef draw` has more formats and frames for templates.
Source: BVLC/caffe python/caffe/draw.py for names, labels and colors.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..inspect.draw import by_graphviz
from ..language.errors import NetdefError
from ..lazy import need
from .errors import WrongValue

COLORS = {"Convolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}  # of layers; others are blue
OTHER, IN_PLACE, BLOB = "#6495ED", "#90EE90", "#E0E0E0"
CELL_WIDTH, CELL_HEIGHT = 180, 84  # pixels of a box and the space around it, in a PNG without Graphviz


@dataclass(frozen=True)
class Diagram:
    """Boxes by key as (lines, color, whether it is a blob), and arrows as (start, end, label)."""

    name: str
    boxes: dict[str, tuple[list[str], str, bool]] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)


def draw_net_to_file(
    caffe_net: Any, filename: str, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Writes the diagram of a net; the extension selects the format, `.raw` or `.dot` the source for Graphviz."""
    data = draw_net(caffe_net, rankdir, Path(filename).suffix[1:].lower(), phase, display_lrm)
    write_atomically(Path(filename), lambda aside: aside.write_bytes(data))


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Returns the diagram of a net, only of the layers of one phase if it is given, as a file with this extension."""
    diagram = diagram_of(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    source = dot(diagram, rankdir)
    if ext in ("raw", "dot", "gv"):
        return source.encode()
    made = by_graphviz(source, ext, f"a diagram as {ext}")
    if made is not None:
        return made
    if ext != "png":
        raise NetdefError(f"a diagram as {ext} requires Graphviz (the program `dot`), which is not installed; use png")
    return _png(diagram)


def diagram_of(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Diagram:
    """Returns the boxes and arrows of a net."""
    made = Diagram(caffe_net.name or "Net")
    blob = lambda name: made.boxes.setdefault(f"{name}_blob", ([name], BLOB, True))
    for layer in caffe_net.layer:
        if phase is not None and not _included(layer, phase):
            continue
        key = f"{layer.name}_{layer.type}"
        in_place = len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]
        color = IN_PLACE if in_place else choose_color_by_layertype(layer.type)
        made.boxes[key] = (get_layer_label(layer, rankdir, display_lrm), color, False)
        for name in layer.bottom:
            blob(name)
            made.arrows.append((f"{name}_blob", key, ""))
        for name in layer.top:
            blob(name)
            made.arrows.append((key, f"{name}_blob", get_edge_label(layer) if label_edges else ""))
    return made


def _included(layer: Any, phase: int) -> bool:
    if layer.include and layer.exclude:
        raise WrongValue(f"layer {layer.name} has both include and exclude specified.")
    if layer.include:
        return any(rule.phase == phase for rule in layer.include)
    return not any(rule.phase == phase for rule in layer.exclude)


def get_edge_label(layer: Any) -> str:
    """Returns the label of the arrows to a layer's tops: its number of outputs, or the size of its batches."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    return str(layer.inner_product_param.num_output) if layer.type == "InnerProduct" else ""


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> list[str]:
    """Returns the text of a layer's box, as parts: its name, type, window and multipliers of the learning rate."""
    if layer.type == "Pooling":
        window = layer.pooling_param
        words = {value: word for word, value in window.PoolMethod.items()}
        sides = window.kernel_size, window.stride, window.pad
        parts = [layer.name, f"(Pooling {words[window.pool]})"]
    else:
        window = layer.convolution_param
        first = lambda values, default: values[0] if values else default
        sides = first(window.kernel_size, 1), first(window.stride, 1), first(window.pad, 0)
        parts = [layer.name, f"({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution", "Pooling"):
        parts += [f"kernel size: {sides[0]}", f"stride: {sides[1]}", f"pad: {sides[2]}"]
    if display_lrm and layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        parts.append("lr mult: " + ", ".join(f"{rate:.1f}" for rate in get_layer_lr_mult(layer)))
    return parts


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """Returns the multipliers of the learning rate of a layer's weights and bias."""
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        raise WrongValue(f"{layer.type} layers do not have a learning rate multiplier")
    rates = [spec.lr_mult for spec in layer.param]
    if len(rates) > 2:
        raise WrongValue(f"layer {layer.name} has {len(rates)} learning rate multipliers, for two parameters")
    return (*rates, 1.0, 1.0)[0], (*rates, 1.0, 1.0)[1] if len(rates) == 2 else 1.0


def choose_color_by_layertype(layertype: str) -> str:
    """Returns the color of a layer's box."""
    return COLORS.get(layertype, OTHER)


def dot(diagram: Diagram, rankdir: str) -> str:
    """Returns the source of a diagram for Graphviz."""
    between = "\n" if rankdir in ("LR", "RL") else " "
    lines = [f"digraph {json.dumps(diagram.name)} {{", f"rankdir={json.dumps(rankdir)};"]
    for key, (parts, color, is_blob) in diagram.boxes.items():
        shape = "octagon" if is_blob else "box"
        label = json.dumps(between.join(parts), ensure_ascii=False)
        lines.append(f'{json.dumps(key)} [label={label}, shape={shape}, style=filled, fillcolor="{color}"];')
    for start, end, text in diagram.arrows:
        lines.append(f"{json.dumps(start)} -> {json.dumps(end)} [label={json.dumps(text)}];")
    return "\n".join([*lines, "}"])


def _png(diagram: Diagram) -> bytes:
    """Returns a PNG in which each box is one row below the last of those that lead to it."""
    need("PIL", "diagrams without Graphviz")
    from PIL import Image, ImageDraw

    rows: dict[str, int] = {}
    for start, end, _ in diagram.arrows:  # in the order of the layers
        rows[end] = max(rows.get(end, 0), rows.setdefault(start, 0) + 1)
    counts: dict[int, int] = {}
    places = {}
    for key in diagram.boxes:
        row = rows.setdefault(key, 0)
        counts[row] = counts.get(row, 0) + 1
        places[key] = ((counts[row] - 0.5) * CELL_WIDTH, (row + 0.5) * CELL_HEIGHT)
    size = max(counts.values(), default=1) * CELL_WIDTH, (max(rows.values(), default=0) + 1) * CELL_HEIGHT
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for start, end, text in diagram.arrows:
        (x, y), (to_x, to_y) = places[start], places[end]
        pen.line((x, y, to_x, to_y), fill="gray")
        pen.text(((x + to_x) / 2 + 4, (y + to_y) / 2 - 6), text, fill="black")
    for key, (parts, color, is_blob) in diagram.boxes.items():
        x, y = places[key]
        corners = (x - CELL_WIDTH * 0.45, y - CELL_HEIGHT * 0.35, x + CELL_WIDTH * 0.45, y + CELL_HEIGHT * 0.35)
        pen.rounded_rectangle(corners, 12 if is_blob else 0, fill=color, outline="black")
        lines = [*parts[:2], ", ".join(parts[2:5]), *parts[5:]]
        pen.multiline_text(
            (x, y), "\n".join(filter(None, lines)), fill="black", anchor="mm", align="center", font_size=9
        )
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
