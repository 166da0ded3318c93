"""Upgrades old nets: rewrites V0 and V1 layers in the tree, so later stages see only the current form.

V1 (2013): `layers { type: CONVOLUTION blobs_lr: 1 weight_decay: 1 ... }`. V0 (earlier): `layers { layer { type: "conv"
kernelsize: 3 ... } bottom: ... }` with all fields flat, and padding as a separate layer. Rewritten fields keep the
spans of the original ones. Source: BVLC/caffe src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import suggestion
from ..language.syntax import Field, ListValue, Message, Scalar, Value

V1_TYPES = {  # enum value: (its number, the current type)
    "NONE": (0, ""),
    "ACCURACY": (1, "Accuracy"),
    "BNLL": (2, "BNLL"),
    "CONCAT": (3, "Concat"),
    "CONVOLUTION": (4, "Convolution"),
    "DATA": (5, "Data"),
    "DROPOUT": (6, "Dropout"),
    "EUCLIDEAN_LOSS": (7, "EuclideanLoss"),
    "FLATTEN": (8, "Flatten"),
    "HDF5_DATA": (9, "HDF5Data"),
    "HDF5_OUTPUT": (10, "HDF5Output"),
    "IM2COL": (11, "Im2col"),
    "IMAGE_DATA": (12, "ImageData"),
    "INFOGAIN_LOSS": (13, "InfogainLoss"),
    "INNER_PRODUCT": (14, "InnerProduct"),
    "LRN": (15, "LRN"),
    "MULTINOMIAL_LOGISTIC_LOSS": (16, "MultinomialLogisticLoss"),
    "POOLING": (17, "Pooling"),
    "RELU": (18, "ReLU"),
    "SIGMOID": (19, "Sigmoid"),
    "SOFTMAX": (20, "Softmax"),
    "SOFTMAX_LOSS": (21, "SoftmaxWithLoss"),
    "SPLIT": (22, "Split"),
    "TANH": (23, "TanH"),
    "WINDOW_DATA": (24, "WindowData"),
    "ELTWISE": (25, "Eltwise"),
    "POWER": (26, "Power"),
    "SIGMOID_CROSS_ENTROPY_LOSS": (27, "SigmoidCrossEntropyLoss"),
    "HINGE_LOSS": (28, "HingeLoss"),
    "MEMORY_DATA": (29, "MemoryData"),
    "ARGMAX": (30, "ArgMax"),
    "THRESHOLD": (31, "Threshold"),
    "DUMMY_DATA": (32, "DummyData"),
    "SLICE": (33, "Slice"),
    "MVN": (34, "MVN"),
    "ABSVAL": (35, "AbsVal"),
    "SILENCE": (36, "Silence"),
    "CONTRASTIVE_LOSS": (37, "ContrastiveLoss"),
    "EXP": (38, "Exp"),
    "DECONVOLUTION": (39, "Deconvolution"),
}

V0_TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}

_V0_BLOCKS = {  # V0 type: the block to which its own fields are moved
    "conv": "convolution_param",
    "im2col": "convolution_param",
    "pool": "pooling_param",
    "innerproduct": "inner_product_param",
    "dropout": "dropout_param",
    "lrn": "lrn_param",
    "concat": "concat_param",
    "data": "data_param",
    "images": "image_data_param",
    "hdf5_data": "hdf5_data_param",
    "window_data": "window_data_param",
    "infogain_loss": "infogain_loss_param",
}
_V0_NAMES = {  # renamed fields
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "shuffle_images": "shuffle",
    "det_fg_threshold": "fg_threshold",
    "det_bg_threshold": "bg_threshold",
    "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad",
    "det_crop_mode": "crop_mode",
}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")  # moved to transform_param
_DATA_BLOCKS = ("data_param", "image_data_param", "window_data_param")
_COMMON = ("name", "bottom", "top", "include", "exclude", "loss_weight", "hdf5_output_param")


def upgrade(body: Message, report: Report) -> Message:
    """The same net with current `layer` messages; a file without old layers is returned unchanged."""
    if not body.all("layers"):
        return body
    fields: list[Field] = []
    for field in _fold_padding(body.fields):
        if isinstance(field, Field) and field.name == "layers" and isinstance(field.value, Message):
            layer = _from_v0(field) if field.value.get("layer") else _from_v1(field, report)
            fields.append(field._replace(name="layer", value=layer))
        else:
            fields.append(field)
    return body._replace(fields=tuple(fields))


def _from_v1(field: Field, report: Report) -> Message:
    message: Message = field.value  # type: ignore[assignment]
    fields = []
    for inner in message.fields:
        if inner.name == "type":
            fields.append(_v1_type(inner, report))
        elif inner.name in _DATA_BLOCKS and isinstance(inner.value, Message):
            fields.extend(_without_transforms(inner))
        elif inner.name not in ("blobs_lr", "weight_decay", "blob_share_mode") and not _is_param_name(inner):
            fields.append(inner)
    return message._replace(fields=(*fields, *_params(message)))


def _v1_type(field: Field, report: Report) -> Field:
    value = field.value
    if isinstance(value, Scalar) and value.kind == "name" and value.value in V1_TYPES:
        return _text(field, V1_TYPES[str(value.value)][1])
    if isinstance(value, Scalar) and value.kind == "int":
        for number, today in V1_TYPES.values():
            if number == value.value:
                return _text(field, today)
    written = str(value.value) if isinstance(value, Scalar) else value.span.text
    if isinstance(value, Scalar) and value.kind == "string":
        report.add(
            codes.WRONG_TYPE,
            value.span,
            "in an old `layers` block, `type` expects an unquoted word such as CONVOLUTION; "
            f'with "{written}", write `layer` instead of `layers`.',
            hint="layer",
        )
        return field
    meant = suggestion(written, V1_TYPES, "{}")
    report.add(
        codes.WRONG_ENUM,
        value.span,
        f"the `type` of an old `layers` block must be one of Caffe's V1 types, not {written}.{meant}",
    )
    return _text(field, written)


def _text(field: Field, text: str) -> Field:
    return field._replace(value=Scalar("string", text, field.value.span))


def _is_param_name(field: Field) -> bool:
    return field.name == "param" and not isinstance(field.value, Message)


MOST_PARAMS = 1000  # of a layer, far more than any layer type has, which a later check reports


def _params(message: Message) -> list[Field]:
    """`param { name lr_mult decay_mult share_mode }` from the separate lists of V1."""
    columns = [
        ("name", _values(message, "param")),
        ("share_mode", _values(message, "blob_share_mode")),
        ("lr_mult", _values(message, "blobs_lr")),
        ("decay_mult", _values(message, "weight_decay")),
    ]
    made = []
    for i in range(min(max(len(values) for _, values in columns), MOST_PARAMS)):
        row = [(name, values[i]) for name, values in columns if i < len(values)]
        inner = [Field(name, value, value.span, value.span) for name, value in row]
        span = inner[0].span
        made.append(Field("param", Message(tuple(inner), span), span, span))
    return made


def _values(message: Message, name: str) -> list[Value]:
    found: list[Value] = []
    for field in message.all(name):
        if isinstance(field.value, ListValue):
            found.extend(field.value.items)
        elif not isinstance(field.value, Message):
            found.append(field.value)
    return found


def _without_transforms(field: Field) -> list[Field]:
    """A data block without transformations, and a transform_param with those fields."""
    block: Message = field.value  # type: ignore[assignment]
    moved = tuple(f for f in block.fields if f.name in _TRANSFORMS)
    if not moved:
        return [field]
    kept = block._replace(fields=tuple(f for f in block.fields if f.name not in _TRANSFORMS))
    return [field._replace(value=kept), _block("transform_param", moved, field.name_span)]


def _block(name: str, fields: Iterable[Field], span: Span) -> Field:
    inner = tuple(fields)
    return Field(name, Message(inner, span), span, span)


def _from_v0(field: Field) -> Message:
    outer: Message = field.value  # type: ignore[assignment]
    inner_field = outer.get("layer")
    assert inner_field is not None and isinstance(inner_field.value, Message)
    inner = inner_field.value
    kind = _v0_kind(inner)
    block_name = _V0_BLOCKS.get(kind, "")
    fields = [f for f in outer.fields if f.name != "layer"]
    own, transforms = [], []
    for f in inner.fields:
        name = _V0_NAMES.get(f.name, f.name)
        if f.name == "type":
            fields.append(_v0_type(f))
        elif f.name in _COMMON:
            fields.append(f)
        elif name in _TRANSFORMS:
            transforms.append(f._replace(name=name))
        elif f.name not in ("blobs_lr", "weight_decay"):
            own.append(f if f.name == name else f._replace(name=name))
    if own and block_name:
        fields.append(_block(block_name, own, inner_field.name_span))
    elif own:
        fields.extend(own)  # decode reports that the type does not have them
    if transforms:
        fields.append(_block("transform_param", transforms, inner_field.name_span))
    return outer._replace(fields=(*fields, *_params(inner)))


def _v0_kind(layer: Message) -> str:
    given = layer.get("type")
    return str(given.value.value) if given and isinstance(given.value, Scalar) else ""


def _v0_type(field: Field) -> Field:
    written = str(field.value.value) if isinstance(field.value, Scalar) else ""
    return _text(field, V0_TYPES[written]) if written in V0_TYPES else field  # decode reports an unknown type


def _fold_padding(fields: Iterable[Field]) -> list[Field]:
    """Removes the padding layers of V0; they become the `pad` of the layers that use their top."""
    pads: dict[str, tuple[Value, Value]] = {}  # top of a padding layer: (its bottom, its pad)
    kept = []
    for field in fields:
        message = field.value if isinstance(field, Field) else None  # a statement, in a file that is not expanded
        layer = message.get("layer") if isinstance(message, Message) and field.name == "layers" else None
        if layer is None or not isinstance(layer.value, Message) or not isinstance(message, Message):
            kept.append(field)
            continue
        bottom, top, pad = message.get("bottom"), message.get("top"), layer.value.get("pad")
        if _v0_kind(layer.value) == "padding" and bottom and top and pad:
            pads[_name(top)] = (bottom.value, pad.value)
            continue
        if bottom and _name(bottom) in pads:
            source, amount = pads[_name(bottom)]
            padded = layer.value._replace(fields=(*layer.value.fields, layer._replace(name="pad", value=amount)))
            swap = {id(bottom): bottom._replace(value=source), id(layer): layer._replace(value=padded)}
            field = field._replace(value=message._replace(fields=tuple(swap.get(id(f), f) for f in message.fields)))
        kept.append(field)
    return kept


def _name(field: Field) -> str:
    return str(field.value.value) if isinstance(field.value, Scalar) else ""
