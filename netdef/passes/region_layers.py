"""The Python layers of py-faster-rcnn, read as layers of netdef.

Their code is Python 2 and changes the shapes of its tops at each pass, which a compiled program cannot do. A layer with
one of these modules and classes is therefore replaced by netdef's own type, with the fields in its `param_str`. It is
left as it is if the file of the module is in the folder of the net or in the working directory, or if its `param_str`
has other fields: then the code is the user's own.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..language import codes
from ..language.diagnostics import Report
from ..language.parsing.parser import parse
from ..language.source import Source, Span, exists
from ..language.syntax import Field, ListValue, Message, Scalar
from ..layers.base import LAYERS

OWN = {  # (module, class): netdef's type
    ("rpn.proposal_layer", "ProposalLayer"): "ProposalLayer",
    ("rpn.anchor_target_layer", "AnchorTargetLayer"): "AnchorTarget",
    ("rpn.proposal_target_layer", "ProposalTargetLayer"): "ProposalTarget",
}
RENAMED = {"scales": "scale", "ratios": "ratio"}
READER = ("roi_data_layer.layer", "RoIDataLayer")
READ = {"data": (1, 3, 600, 1000), "im_info": (1, 3), "gt_boxes": (20, 5)}  # its tops in end-to-end training


def own_region_layer(field: Field, report: Report) -> Field:
    """Returns a `layer { }` as it is, or as netdef's own type if it is a Python layer of py-faster-rcnn."""
    message = field.value
    if not isinstance(message, Message) or _text(message, "type") != "Python":
        return field
    block = message.get("python_param")
    if block is None or not isinstance(block.value, Message):
        return field
    module, name = _text(block.value, "module"), _text(block.value, "layer")
    made = _reader(message, block) if (module, name) == READER else _own(OWN.get((module, name)), block)
    if made is None or _has_file(module, field.span.source.path):
        return field
    kind, inner = made
    report.add(codes.OWN_LAYER, _span(block.value, "module"), _note(_text(message, "name"), module, kind))
    type_field = message.get("type")
    assert type_field is not None
    given = tuple(f for f in message.fields if f not in (block, type_field))
    own_type = type_field._replace(value=Scalar("string", kind, type_field.value.span))
    return field._replace(value=message._replace(fields=(*given, own_type, inner)))


def _own(kind: str | None, block: Field) -> tuple[str, Field] | None:
    """Returns a type and its block with the fields in `param_str`; None if they are not those of the type."""
    cls = LAYERS.get(kind) if kind else None
    if cls is None or not isinstance(block.value, Message):
        return None
    given = block.value.get("param_str")
    fields = _yaml(_text(block.value, "param_str"), (given or block).span)
    known = {spec.name for spec in cls.params().values() if not spec.beside}
    if fields is None or any(field.name not in known for field in fields):
        return None
    return cls.type, block._replace(name=cls.block or "", value=block.value._replace(fields=fields))


def _yaml(text: str, span: Span) -> tuple[Field, ...] | None:
    """Returns the fields of a YAML mapping of numbers and lists of numbers; None if it is something else."""
    text = re.sub(r"['\"](\w+)['\"]\s*:", r"\1:", text.replace("!!python/tuple", " ")).strip()
    text = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    report = Report()
    document = parse(Source("param_str", text), report)
    if document is None or report.has_errors or not document.plain:
        return None
    fields = []
    for field in document.body.fields:
        values = field.value.items if isinstance(field.value, ListValue) else (field.value,)
        if not all(isinstance(value, Scalar) and value.kind in ("int", "float", "name") for value in values):
            return None
        name = RENAMED.get(field.name, field.name)
        fields += [Field(name, value._replace(span=span), span, span) for value in values]
    return tuple(fields)


def _reader(message: Message, block: Field) -> tuple[str, Field] | None:
    """Returns an Input layer in place of the layer that reads images and boxes; None if it has other tops."""
    tops = [str(field.value.value) for field in message.all("top") if isinstance(field.value, Scalar)]
    if tops != list(READ):
        return None
    span = block.span
    shapes = []
    for dims in READ.values():
        inner = tuple(Field("dim", Scalar("int", dim, span), span, span) for dim in dims)
        shapes.append(Field("shape", Message(inner, span), span, span))
    return "Input", block._replace(name="input_param", value=Message(tuple(shapes), span))


def _note(layer: str, module: str, kind: str) -> str:
    file = module.replace(".", "/") + ".py"
    said = (
        f"layer `{layer}` has the Python module `{module}` of py-faster-rcnn. It is not run: the layer is read as the "
        f"type {kind} of netdef"
    )
    if kind == "Input":
        sizes = ", ".join(f"`{name}` {'x'.join(map(str, dims))}" for name, dims in READ.items())
        said += f", with {sizes}, because the images and boxes come from the program that trains the net"
    else:
        said += f", and the settings in YAML files are fields of its `param_str` (see `netdef explain {kind}`)"
    return f"{said}. To run a module of your own, put {file} in the folder of the net."


def _has_file(module: str, net: Path | None) -> bool:
    file = module.replace(".", "/") + ".py"
    return any(exists(str(folder / file)) for folder in (Path(), *([net.parent] if net else [])))


def _text(message: Message, name: str) -> str:
    found = message.get(name)
    value = found.value if found else None
    return str(value.value) if isinstance(value, Scalar) else ""


def _span(message: Message, name: str) -> Span:
    found = message.get(name)
    return found.value.span if found else message.span
