"""The inference net of a training net: `netdef.deploy(path)`.

Data layers become Input, a loss becomes its prediction (SoftmaxWithLoss becomes Softmax, MultiBoxLoss becomes
DetectionOutput unless the net has one), and everything that only
training needs is removed: labels, metrics, dropout, auxiliary losses, fillers, learning rates.  Layers keep their
names, so that the weights of the training net fit.  The `text` of the returned net is plain prototxt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..compiler import Settings, build_net, load, read_file
from ..data.base import DataLayer
from ..fillers import Filler
from ..graph import Net, Node, Value
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from ..language.printer import print_message
from ..language.source import NOWHERE, Source
from ..language.syntax import Field, Message, Scalar
from ..language.trust import Trust
from ..layers.base import Layer, ParamSpec, Phase
from ..layers.batch_norm import BatchNormalization
from ..layers.input import BlobShape, Input
from ..passes.encode import encode_layer
from ..passes.select import State
from ..shape import Shape, known, show

TRAINING = ("phase", "loss_weight", "propagate_down", "include", "exclude")  # fields that matter only in training


def deploy(
    path_or_text: str | Path | Source,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] = (),
    *,
    stages: Sequence[str] = (),
    level: int = 0,
    set: Settings | None = None,
    fillers: bool = False,
    trust_python: bool = False,
    import_path: Sequence[str | Path] = (),
) -> Net:
    """Returns the inference net of a file; its `text` is prototxt.

    `batch` is the batch size of the inputs (None: 1, and for Input layers their own), `shapes` contains complete shapes
    of inputs by name, `outputs` the names of the output blobs (default: the predictions of the losses, or all blobs
    without consumers).  Layers with `include { stage: "deploy" }` are included; `fillers` keeps the fillers of the
    parameters.  `trust_python` and `import_path` are those of `netdef.load`: modules of Python layers are not run by
    default, and their tops have unknown shapes.  Raises CompileError; NetdefError for an unknown shape or a net
    without an output.
    """
    trust = Trust(trust_python, tuple(import_path))
    net, source = _tested(path_or_text, State(Phase.TEST, level, (*stages, "deploy")), set, trust)
    deployment = Deployment(net, outputs, fillers)
    text = deployment.text(batch, shapes or {})
    return load(Source(f"<deployed {source.name}>", text, source.path), phase="TEST", trust_python=trust_python)


def _tested(path_or_text: str | Path | Source, state: State, set: Settings | None, trust: Trust) -> tuple[Net, Source]:
    """Returns the net of phase TEST, or of TRAIN if that one has errors or no output."""
    failure: CompileError | None = None
    made: tuple[Net, Source] | None = None
    for phase in (Phase.TEST, Phase.TRAIN):
        try:
            parsed = read_file(path_or_text, phase=phase, set=set, trust=trust)
            net = build_net(parsed, State(phase, state.level, state.stages))
            parsed.report.stop_on_errors()
        except CompileError as error:
            failure = failure or error
            continue
        made = made or (net, parsed.source)
        if (any(_heads(net)) or _other_outputs(net)) and not _loses_detections(net, parsed.program.layers):
            return net, parsed.source
    if made is None:
        assert failure is not None
        raise failure
    return made


def _loses_detections(net: Net, layers: Iterable[Layer]) -> bool:
    """Whether a net outputs what a detector's loss, which only phase TRAIN has, would turn into detections."""
    if net.phase is Phase.TRAIN or any(node.layer.detects or _several(node) for node in net.layers):
        return False
    return any(layer.deployed_layers(layer.bottom) for layer in layers)


class Deployment:
    """The part of a net that is kept: `kept` contains the layers in order, as `_kept` returns them."""

    def __init__(self, net: Net, outputs: Sequence[str] = (), fillers: bool = False):
        self.net, self.fillers = net, fillers
        self.same: dict[Value, Value] = {}  # a removed value -> the value that replaces it
        self.predictions: dict[tuple[Value, str], set[Value]] = {}  # the tops that layers of a type compute from scores
        heads = [] if outputs else list(_heads(net))
        self.heads = {node.name: _scores(net, node) for node in heads}  # losses, and the scores that they use
        several = [v for node in heads if _several(node) for v in node.bottoms[:-1]]
        roots = [_last(net, name) for name in outputs] or [*self.heads.values(), *several, *_other_outputs(net)]
        self.live = {*roots}
        self.kept = [made for node in reversed(net.layers) for made in self._kept(node)][::-1]
        for top in reversed(self.same):  # from the first layer to the last, so that the replacements are never removed
            self.same[top] = self.same.get(self.same[top], self.same[top])
        if not self.kept:
            raise NetdefError(f"net {net.name or '(no name)'} has no output; name the output blobs")

    def _kept(self, node: Node) -> Iterable[tuple[Node, Layer, list[Value]]]:
        """Yields (layer, replacement, its bottoms) if the layer is kept.  Called from the last layer to the first."""
        if node.name in self.heads and _several(node):
            yield node, node.layer, list(node.bottoms[:-1])
            return
        if node.name in self.heads:
            deployed, scores = node.layer.deployed(), self.heads[node.name]
            if deployed is not None and deployed is not node.layer and not self._has_prediction(deployed, scores):
                yield node, deployed, [scores]
            return
        if node.layer.is_metric or node.layer.is_loss or not self.live & {*node.tops}:
            return
        deployed = node.layer.deployed()
        if deployed is None and node.bottoms and _is_last(self.net, node.bottoms[0], node.tops[0]):
            self.same[node.tops[0]] = node.bottoms[0]
            self.live.add(node.bottoms[0])
            return
        deployed = deployed or node.layer
        bottoms = list(node.bottoms if deployed is node.layer else node.bottoms[:1])
        self.live.update(bottoms)
        yield node, deployed, bottoms

    def _has_prediction(self, deployed: Layer, scores: Value) -> bool:
        """Whether the net already has the prediction, beside the loss."""
        if (scores, deployed.type) not in self.predictions:
            takers = (node for node in self.net.consumers[scores] if node.type == deployed.type)
            self.predictions[scores, deployed.type] = {top for node in takers for top in node.tops}
        return not self.live.isdisjoint(self.predictions[scores, deployed.type])

    def name(self, value: Value) -> str:
        """Returns the name of a value in the new net."""
        return self.same.get(value, value).name

    def text(self, batch: int | None, shapes: Mapping[str, Shape]) -> str:
        """Returns the new net as prototxt."""
        inputs = any(node.layer.is_input for node, _, _ in self.kept)
        tops: dict[str, set[Value]] = {}
        for top in (top for node, _, _ in self.kept for top in node.tops):
            tops.setdefault(top.name, set()).add(top)
        several = sum(node.name in self.heads for node, _, _ in self.kept) > 1
        layers = []
        for node, deployed, bottoms in self.kept:
            names = [self.name(value) for value in bottoms]
            if node.layer.is_input or (node.type == "DummyData" and (_is_random(node.layer) or not inputs)):
                layers.append(self._input(node, batch, shapes))
            elif node.name in self.heads and _several(node):
                layers += node.layer.deployed_layers(names)
            elif node.name in self.heads:
                top = self._prediction(node, tops, several)
                layers.append(deployed.replace(name=top, bottom=(*names,), top=(top,)))
            else:
                own = deployed if deployed is node.layer else deployed.replace(name=node.name)
                made = tuple(value.name for value in node.tops if deployed is node.layer or value == node.tops[0])
                layers.append(inference(own.replace(bottom=(*names,), top=made), node, self.fillers))
        fields = [encode_layer(layer) for layer in layers]
        if self.net.name:
            fields.insert(0, Field("name", Scalar("string", self.net.name, NOWHERE), NOWHERE, NOWHERE))
        return print_message(Message(tuple(fields), NOWHERE))

    def _input(self, node: Node, batch: int | None, given: Mapping[str, Shape]) -> Layer:
        """Returns an Input layer for the tops of a data layer that are still used."""
        tops = [top for top in node.tops if top in self.live]
        found = []
        for top in tops:
            shape = given.get(top.name, self.net.shapes.get(top))
            if shape and top.name not in given and (batch or node.type != "Input"):
                axis = node.layer.record_axis(top.name) if isinstance(node.layer, DataLayer) else 0
                shape = (*shape[:axis], batch or 1, *shape[axis + 1 :])
            if shape is None or not known(shape):
                raise NetdefError(
                    f"layer `{node.name}`: the shape of `{top.name}` is {show(shape)}, because its data is missing; "
                    f"set it, as in --shape {top.name}=1,3,224,224"
                )
            found.append(BlobShape(dim=shape))
        return Input(name=node.name, top=tuple(top.name for top in tops), shape=tuple(found))

    def _prediction(self, node: Node, tops: Mapping[str, set[Value]], several: bool) -> str:
        """Returns the name of a prediction: the loss's second top; else `prob`, or SCORES_prob if there are `several`.
        `tops` are those of all layers by name."""
        if len(node.tops) > 1:
            return node.tops[1].name
        name = f"{self.name(self.heads[node.name])}_prob" if several else "prob"
        while tops.get(name, set()) - {*node.tops}:
            name += "_prob"
        return name


def _heads(net: Net) -> Iterable[Node]:
    """Yields the main losses of a net: of several on one label, those of the greatest weight."""
    losses = [node for node in net.layers if node.layer.is_loss and any(node.loss_weights) and node.bottoms]
    if any(node.layer.detects for node in net.layers):
        losses = [node for node in losses if not _several(node)]
    weight = lambda node: max(map(abs, node.loss_weights))
    greatest: dict[Value, float] = {}  # of the weights on each label
    for node in losses:
        for label in node.bottoms[1:2]:
            greatest[label] = max(weight(node), greatest.get(label, 0))
    yield from (node for node in losses if all(weight(node) >= greatest[label] for label in node.bottoms[1:2]))


def _several(loss: Node) -> bool:
    """Whether several layers replace a loss; its last bottom is then what it compares their result with."""
    return bool(loss.layer.deployed_layers([value.name for value in loss.bottoms]))


def _scores(net: Net, loss: Node) -> Value:
    """Returns the scores that a loss uses: its first bottom that is not an input."""
    fed = lambda value: value in net.producers and not net.producers[value].bottoms
    return next((value for value in loss.bottoms if not fed(value)), loss.bottoms[0])


def _other_outputs(net: Net) -> list[Value]:
    """Returns the outputs that are not losses, metrics or inputs, and do not depend on labels."""
    labels = {v for node in net.layers if node.layer.is_loss or node.layer.is_metric for v in node.bottoms[1:]}
    labels = {v for v in labels if v in net.producers and net.producers[v].layer.is_input}
    needs: dict[Value, bool] = {}
    outputs, found = {*net.outputs}, []
    for node in net.layers:
        needs_labels = any(v in labels or needs.get(v) for v in node.bottoms)
        needs.update(dict.fromkeys(node.tops, needs_labels))
        if node.layer.is_loss or node.layer.is_metric or node.layer.is_input or needs_labels or any(node.loss_weights):
            continue
        judged = lambda top, node=node: node.layer.detects and all(n.layer.is_metric for n in net.consumers[top])
        found += [top for top in node.tops if top == _last(net, top.name) and (top.name in outputs or judged(top))]
    return [top for top in found if net.producers[top].bottoms]


def _last(net: Net, name: str) -> Value:
    """Returns the last version of a blob.  Raises NetdefError if it does not exist."""
    if name not in net.latest:
        raise NetdefError(f"there is no blob `{name}` in phase {net.phase.name}; `netdef summary` lists the blobs")
    return net.latest[name]


def _is_last(net: Net, bottom: Value, top: Value) -> bool:
    """Whether only the layer that outputs `top` may overwrite `bottom`."""
    return bottom.name == top.name or bottom == _last(net, bottom.name)


def _is_random(layer: Layer) -> bool:
    return any(filler.type != "constant" for filler in getattr(layer, "data_filler", ()))


def inference(layer: Layer, node: Node, fillers: bool = False) -> Layer:
    """Returns a layer without the fields for training; names of shared parameters stay, and fillers if requested."""
    drop = {name: layer.params()[name].default for name in TRAINING}
    names = tuple(ParamSpec(name=spec.name) for spec in layer.param)
    drop["param"] = names if any(spec.name for spec in layer.param) else ()
    plain = layer.replace(**drop)
    if fillers:
        return plain
    unfilled = {name: spec.default for name, spec in layer.params().items() if spec.type is Filler and node.weights}
    bare = plain.replace(**unfilled)
    return bare if _same_storage(bare, plain) else plain


def _same_storage(layer: Layer, other: Layer) -> bool:
    """Whether two layers store the same blobs, because the fillers of batch normalization determine its dialect."""
    stored = lambda layer: layer.storage() if isinstance(layer, BatchNormalization) else None
    return stored(layer) == stored(other)
