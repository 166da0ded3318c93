"""Diagrams of a net: Graphviz (`dot`) and Mermaid source, and SVG, PNG or PDF if Graphviz is installed.

A box is a layer together with the layers that work in place on its output; its color shows the family of the layer.
An arrow is a blob, labeled with its shape.  The layers of one use of a template are surrounded by a frame, or shown as
one box if the template is folded.  `picture(net)` returns the diagram as values, and `dot` and `mermaid` return its
source.
"""

from __future__ import annotations

import html
import os
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..files import write_atomically
from ..graph import Net, Node, Value
from ..language.errors import NetdefError
from ..language.source import Span
from ..layers.base import Layer
from ..shape import count, known, show
from .columns import fitting, in_columns

FAMILIES = {  # `Layer.family` -> color
    "data": "#e3e3e3",
    "convolution": "#a6cee3",
    "product": "#b2df8a",
    "pooling": "#fdd49e",
    "activation": "#fff3b0",
    "normalization": "#d4c8ea",
    "joining": "#d9f0e3",
    "loss": "#f7b6b2",
    "metric": "#f9d5e5",
    "template": "#f0f0f0",
    "other": "#ffffff",
}
CHAIN = 3  # equal folded boxes, one after the other, from which on they are drawn as one
TEXT, IMAGES = (".dot", ".gv", ".mmd"), (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Frame:
    """The layers of one use of a template; `inside` is the frame that surrounds this one."""

    key: str
    template: str
    title: str
    inside: Frame | None = None


@dataclass(frozen=True)
class Box:
    """A layer and those that work in place on its output: a title and lines of description."""

    key: str
    title: str
    lines: tuple[str, ...]
    family: str
    frame: Frame | None = None
    layers: int = 1
    parameters: int = 0
    names: tuple[str, ...] = ()  # of its layers
    template: str = ""  # of the frame that is drawn as this box; empty if no frame is


@dataclass(frozen=True)
class Arrow:
    """A blob between two layers; `text` is its shape.  `start` or `end` may be the key of a loose name, not a box."""

    start: str
    end: str
    text: str = ""


@dataclass(frozen=True)
class Picture:
    """Boxes in the order of the net, arrows between them, and loose names: labels and outputs of the net, and layers of
    other columns.  `tops`: the first boxes or names of columns, if there are several."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    loose: dict[str, str] = field(default_factory=dict)  # key -> name
    tops: tuple[str, ...] = ()


def save(
    net: Net, path: str | Path, *, fold: Sequence[str] = (), sideways: bool = False, columns: int | None = 1
) -> None:
    """Writes a diagram; the extension selects the format: .dot, .gv, .mmd, .svg, .png or .pdf.  Mermaid has no columns.
    `columns`: None for as many as suit a page.

    Errors: NetdefError for any other extension, and if the format requires Graphviz and it is not installed."""
    path = Path(path)
    kind = path.suffix.lower()
    kinds = TEXT + IMAGES
    if kind not in kinds:
        raise NetdefError(
            f"{path}: the file name of a diagram must end in {', '.join(kinds[:-1])} or {kinds[-1]}, or, of `netdef "
            "draw`, in .html"
        )
    drawn = picture(net, fold)
    drawn = in_columns(drawn, fitting(drawn, sideways) if columns is None else columns)
    text = mermaid(drawn, sideways) if kind == ".mmd" else dot(drawn, sideways)
    data = text.encode() if kind in TEXT else _rendered(text, kind[1:], path)
    write_atomically(path, lambda aside: aside.write_bytes(data))


def _rendered(text: str, kind: str, path: Path) -> bytes:
    made = by_graphviz(text, kind, str(path))
    if made is None:
        raise NetdefError(
            f"{path}: SVG, PNG and PDF require Graphviz (the program `dot`), which is not installed; "
            f"{path.with_suffix('.mmd').name} (Mermaid) and {path.with_suffix('.dot').name} do not need it"
        )
    return made


def by_graphviz(source: str, kind: str, name: str) -> bytes | None:
    """Returns the picture of a source for Graphviz, as `kind`; None if Graphviz is not installed.  `name` begins the
    message if it fails."""
    program = shutil.which("dot")
    if program is None:
        return None
    done = subprocess.run([program, f"-T{kind}"], input=source.encode(), capture_output=True)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise NetdefError(f"{name}: dot failed: {words[-1] if words else done.returncode}")
    return done.stdout


# The diagram


def picture(net: Net, fold: Sequence[str] = ()) -> Picture:
    """Returns the diagram of a net.  Each use of a template in `fold` becomes one box; "all" folds the outermost."""
    homes = _homes(net)
    members: dict[str, list[Node]] = {}
    for node in net.layers:
        members.setdefault(homes[node.name], []).append(node)
    keys = {name: f"n{i}" for i, name in enumerate(members)}
    frames = _frames(net, members)
    boxes = [_box(keys[name], nodes, frames[name]) for name, nodes in members.items()]
    arrows, loose = _arrows(net, {node.name: keys[homes[node.name]] for node in net.layers})
    return _without_lone_frames(_folded(Picture(net.name or "net", tuple(boxes), tuple(arrows), loose), fold))


def _homes(net: Net) -> dict[str, str]:
    """Maps each layer to the owner of its box: itself, or for an in-place layer the layer that outputs the blob."""
    homes: dict[str, str] = {}
    for node in net.layers:
        homes[node.name] = node.name
        if len(node.tops) == 1 and node.bottoms and node.tops[0].name == node.bottoms[0].name:
            maker = net.producers.get(node.bottoms[0])
            if maker is not None and net.consumers[node.bottoms[0]] == [node] and len(node.bottoms) == 1:
                homes[node.name] = homes[maker.name]
    return homes


def _box(key: str, nodes: list[Node], frame: Frame | None) -> Box:
    first, *others = nodes
    lines = [words(first.layer), *([" · ".join(words(node.layer) for node in others)] if others else [])]
    own = {owner: weight for node in nodes for weight, owner in node.stored if owner.layer == node.name}
    parameters = sum(count(weight.shape) for weight in own.values() if known(weight.shape))
    names = tuple(node.name for node in nodes)
    return Box(key, first.name, tuple(lines), family(first.layer), frame, len(nodes), parameters, names)


def words(layer: Layer) -> str:
    """Returns the type of a layer and its most important values, or if these have errors, its type."""
    return layer.type if layer.faulty else layer.describe()


def family(layer: Layer) -> str:
    """Returns the family of a layer, or "other" if no color is defined for its family."""
    return layer.family if layer.family in FAMILIES else "other"


def _arrows(net: Net, keys: dict[str, str]) -> tuple[list[Arrow], dict[str, str]]:
    """Returns the arrows and loose names.  Labels, and inputs of which only the shape is used, are
    names next to the layers that use them, not arrows across the whole net."""
    arrows: dict[Arrow, None] = {}
    loose: dict[str, str] = {}
    for value, consumers in net.consumers.items():
        maker = net.producers.get(value)
        is_label = maker is not None and _is_label(net, value)
        for taker in consumers:
            start = keys[maker.name] if maker is not None else ""
            if start == keys[taker.name]:
                continue
            # without a maker, no layer outputs it, which is an error
            if maker is None or is_label or _is_pattern(net, value, taker):
                start = f"i{len(loose)}"
                loose[start] = value.name
            arrows[Arrow(start, keys[taker.name], show(net.shapes.get(value)))] = None
        if (
            maker is not None
            and not consumers
            and not (maker.layer.is_loss or maker.layer.is_metric or maker.layer.is_input)
        ):
            end = f"o{len(loose)}"
            loose[end] = value.name
            arrows[Arrow(keys[maker.name], end, show(net.shapes.get(value)))] = None
    return [*arrows], loose


def _is_label(net: Net, value: Value) -> bool:
    """Whether only losses and metrics use a blob, and it is one of several outputs of a layer without inputs."""
    judges = [taker.layer.is_loss or taker.layer.is_metric for taker in net.consumers[value]]
    return not net.producers[value].bottoms and len(net.producers[value].tops) > 1 and all(judges)


def _is_pattern(net: Net, value: Value, taker: Node) -> bool:
    """Whether a layer uses only the shape of a blob, and this is an input of the net."""
    return not net.producers[value].bottoms and all(
        i in taker.layer.shape_only for i, bottom in enumerate(taker.bottoms) if bottom == value
    )


def _frames(net: Net, members: dict[str, list[Node]]) -> dict[str, Frame | None]:
    """Returns the innermost frame of each box: from uses of templates, or else from the part of its name before `/`."""
    made: dict[int, Frame] = {}
    titles: dict[int, list[str]] = {}
    chains = {name: _uses(nodes[0].layer.span) for name, nodes in members.items()}
    for name, chain in chains.items():
        for use in chain:
            titles.setdefault(id(use), []).append(name)
    frames: dict[str, Frame | None] = {}
    for name, chain in chains.items():
        frame: Frame | None = None
        for use in chain:
            if id(use) not in made:
                common = os.path.commonprefix(titles[id(use)]).rstrip("/_-.")
                title = common if common.startswith(use.text) else f"{use.text} {common}".strip()
                made[id(use)] = Frame(f"t{len(made)}", use.text, title, frame)
            frame = made[id(use)]
        frames[name] = frame
    return frames if made else _named_frames(members)


def _uses(span: Span | None) -> list[Span]:
    """Returns the uses of templates that lead to a place in the source, outermost first, without loops."""
    chain: list[Span] = []
    while span is not None and span.via is not None:
        span = span.via
        if span.text.isidentifier():
            chain.insert(0, span)
    return chain


def _named_frames(members: Iterable[str]) -> dict[str, Frame | None]:
    """For a net without templates: consecutive layers named `inception_3a/...` share a frame."""
    frames: dict[str, Frame | None] = {}
    before: Frame | None = None
    for i, name in enumerate(members):
        head, slash, _ = name.partition("/")
        if not slash:
            before = None
        elif before is None or before.title != head:
            before = Frame(f"t{i}", head, head)
        frames[name] = before
    return frames


def _folded(drawn: Picture, fold: Sequence[str]) -> Picture:
    """Returns the diagram with each frame of these templates as one box; a frame with a single box is unchanged."""
    if not fold:
        return drawn
    held = Counter(frame.key for box in drawn.boxes for frame in around(box.frame))
    wanted = lambda frame: ("all" in fold or frame.template in fold) and held[frame.key] > 1
    containers: dict[str, Box] = {}  # box -> the box that now contains it
    whole: dict[str, Box] = {}
    for box in drawn.boxes:
        frame = next(filter(wanted, around(box.frame)), None)
        if frame is None:
            containers[box.key] = whole[box.key] = box
            continue
        old = whole.get(frame.key)
        layers, parameters = box.layers + (old.layers if old else 0), box.parameters + (old.parameters if old else 0)
        lines = (f"{layers} layers", *([f"{parameters:,} parameters"] if parameters else []))
        names = (*(old.names if old else ()), *box.names)
        whole[frame.key] = Box(
            frame.key, frame.title, lines, "template", frame.inside, layers, parameters, names, frame.template
        )
        containers[box.key] = whole[frame.key]
    ends = {key: box.key for key, box in containers.items()}
    moved = [replace(a, start=ends.get(a.start, a.start), end=ends.get(a.end, a.end)) for a in drawn.arrows]
    kept = dict.fromkeys(arrow for arrow in moved if arrow.start != arrow.end)
    return _gathered(replace(drawn, boxes=tuple(whole.values()), arrows=tuple(kept)))


def _gathered(drawn: Picture) -> Picture:
    """Returns the diagram with each chain of at least `CHAIN` equal folded boxes as one box, because a diagram with 35
    of them does not fit on a page."""
    sources: dict[str, set[str]] = defaultdict(set)
    targets: dict[str, set[str]] = defaultdict(set)
    for arrow in drawn.arrows:
        sources[arrow.end].add(arrow.start)
        targets[arrow.start].add(arrow.end)
    kind = lambda box: (box.template, box.layers, box.parameters, box.frame)

    def follows(box: Box, last: Box) -> bool:
        joined = targets[last.key] == {box.key} and sources[box.key] == {last.key}
        return bool(box.template) and kind(box) == kind(last) and joined

    chains: list[list[Box]] = []
    for box in drawn.boxes:
        chains[-1].append(box) if chains and follows(box, chains[-1][-1]) else chains.append([box])
    chains = [part for chain in chains for part in ([chain] if len(chain) >= CHAIN else [[box] for box in chain])]
    boxes = tuple(chain[0] if len(chain) == 1 else _chain(chain) for chain in chains)
    ends = {box.key: chain[0].key for chain in chains for box in chain}
    moved = [replace(a, start=ends.get(a.start, a.start), end=ends.get(a.end, a.end)) for a in drawn.arrows]
    return replace(drawn, boxes=boxes, arrows=tuple(dict.fromkeys(a for a in moved if a.start != a.end)))


def _chain(chain: Sequence[Box]) -> Box:
    """Returns the box of several equal boxes, one after the other."""
    first, last = chain[0], chain[-1]
    short = lambda box: box.title.removeprefix(first.template).strip()
    layers, parameters = sum(box.layers for box in chain), sum(box.parameters for box in chain)
    lines = [f"{short(first)} to {short(last)}"] if short(first) and short(last) else []
    lines += [f"{layers} layers", *([f"{parameters:,} parameters"] if parameters else [])]
    names = tuple(name for box in chain for name in box.names)
    title = f"{len(chain)} x {first.template}"
    return replace(first, title=title, lines=tuple(lines), layers=layers, parameters=parameters, names=names)


def around(frame: Frame | None) -> list[Frame]:
    """Returns the enclosing frames, outermost first, and the frame itself last."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.inside
    return found[::-1]


def _without_lone_frames(drawn: Picture) -> Picture:
    """Removes frames that add no information: around a single box, or around the same boxes as the frame outside."""
    held = Counter(frame.key for box in drawn.boxes for frame in around(box.frame))
    slimmed: dict[str, Frame | None] = {}  # by the key of a frame: what takes its place

    def slim(frame: Frame | None) -> Frame | None:
        if frame is None:
            return None
        if frame.key not in slimmed:
            inside, boxes = slim(frame.inside), held[frame.key]
            adds = boxes > 1 and not (frame.inside and held[frame.inside.key] == boxes)
            slimmed[frame.key] = replace(frame, inside=inside) if adds else inside
        return slimmed[frame.key]

    return replace(drawn, boxes=tuple(replace(box, frame=slim(box.frame)) for box in drawn.boxes))


# Source for Graphviz and Mermaid


def dot(drawn: Picture, sideways: bool = False) -> str:
    """Returns the diagram as Graphviz source."""
    lines = [
        f"digraph {_quoted(drawn.name)} {{",
        f"  rankdir={'LR' if sideways else 'TB'}; nodesep=0.25; ranksep=0.3;",
        '  node [shape=box style="rounded,filled" color="#00000040" margin="0.12,0.05"];',
        '  node [fontname="Helvetica" fontsize=11];',
        '  edge [color="#00000090" arrowsize=0.6 fontname="Helvetica" fontsize=8 fontcolor="#555555"];',
    ]
    _dot_boxes(drawn.boxes, lines)
    for key, name in drawn.loose.items():
        lines.append(f'  {key} [label={_quoted(name)} shape=plain style="" fontsize=10];')
    for arrow in drawn.arrows:
        lines.append(f"  {arrow.start} -> {arrow.end} [label={_quoted(' ' + arrow.text)}];")
    if drawn.tops:
        lines.append(f"  newrank=true; {{ rank=same; {' -> '.join(drawn.tops)} [style=invis]; }}")
    return "\n".join([*lines, "}", ""])


def _dot_boxes(boxes: Iterable[Box], lines: list[str]) -> None:
    def write(box: Box, margin: str) -> None:
        small = "".join(f'<br/><font point-size="9">{html.escape(line)}</font>' for line in box.lines)
        color = FAMILIES[box.family]
        lines.append(f'{margin}{box.key} [label=<<b>{html.escape(box.title)}</b>{small}> fillcolor="{color}"];')

    def opened(frame: Frame, margin: str) -> None:
        lines.append(f"{margin}subgraph cluster_{frame.key} {{")
        lines.append(f'{margin}  label={_quoted(frame.title)}; labeljust=l; style="rounded,filled"; margin=8;')
        lines.append(f'{margin}  color="#00000030"; fillcolor="#00000008"; fontname="Helvetica"; fontsize=9;')

    _nested(boxes, write, opened, lambda margin: lines.append(f"{margin}}}"))


def mermaid(drawn: Picture, sideways: bool = False) -> str:
    """Returns the diagram as Mermaid source, which GitHub and many editors render."""
    lines = [f"flowchart {'LR' if sideways else 'TD'}"]
    said = lambda text: text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")

    def write(box: Box, margin: str) -> None:
        text = "<br/>".join([f"<b>{said(box.title)}</b>", *(said(line) for line in box.lines)])
        lines.append(f'{margin}{box.key}["{text}"]:::{box.family}')

    opened = lambda frame, margin: lines.append(f'{margin}subgraph {frame.key}["{said(frame.title)}"]')
    _nested(drawn.boxes, write, opened, lambda margin: lines.append(f"{margin}end"))
    lines += [f'  {key}(["{said(name)}"])' for key, name in drawn.loose.items()]
    lines += [f'  {arrow.start} -->|"{said(arrow.text)}"| {arrow.end}' for arrow in drawn.arrows]
    used = {box.family for box in drawn.boxes}
    lines += [f"  classDef {name} fill:{color},stroke:#999" for name, color in FAMILIES.items() if name in used]
    return "\n".join([*lines, ""])


def _nested(boxes: Iterable[Box], write, opened, closed) -> None:
    """Writes each box inside its frames; the boxes of a frame are consecutive."""
    inside: dict[Frame | None, list[Box | Frame]] = {None: []}
    for box in boxes:
        for frame in around(box.frame):
            if frame not in inside:
                inside[frame] = []
                inside[frame.inside].append(frame)
        inside[box.frame].append(box)

    def level(frame: Frame | None, margin: str) -> None:
        for item in inside[frame]:
            if isinstance(item, Box):
                write(item, margin)
            else:
                opened(item, margin)
                level(item, margin + "  ")
                closed(margin)

    level(None, "  ")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
