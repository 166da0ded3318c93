"""Random nets from the registries: layers of every type with random fields, on blobs that are mostly there.

    random_net(random.Random("seed 7")) -> text

Half of the nets are meant to be valid: their layers are the examples of the layer types, or have valid values and
fitting bottoms as far as that is known without computing shapes.  The others have wrong values, names and bottoms too.
Some layers come from templates, loops and choices, and some values from constants.
"""

from __future__ import annotations

import enum
import random
import re
from dataclasses import dataclass, field
from typing import Any

from netdef.fillers.base import FILLERS
from netdef.layers.base import LAYERS, Example, Layer
from netdef.policies.base import POLICIES
from netdef.schema import Block, Param
from netdef.solvers.base import SOLVERS

SHAPES = (
    (2, 3, 8, 8),
    (2, 3, 8, 8),
    (4, 5),
    (2,),
    (2, 3, 1, 1),
    (2, 3, 7),
    (3, 2, 4),
    (1, 1),
    (2, 1, 5, 5, 3),
    (),
    (0, 3),
)
INTEGERS = (0, 1, 1, 1, 2, 2, 3, 4, 5, 8)
WILD_INTEGERS = (-1, -2, 7, 1000, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, 10**30)
FLOATS = ("0.0", "0.5", "1.0", "0.1", "2", "1e-3", "0.9")
WILD_FLOATS = ("-1.0", "1e30", "1e308", "1e400", "nan", "inf", "-inf", "-0.0", "1e-320", "1.5f", "99999999999999999999")
WORDS = ("", "a", "x", "é ü", "no/such/file", "1", "MAX", "layer", "a b", "label", "~", "/", "..")
DEEPEST = 3  # messages in messages


@dataclass
class Writer:
    """The state of one text: its random numbers, the blobs that are there, and the constants."""

    chance: random.Random
    wild: float  # the probability of a wrong value, name or bottom
    blobs: list[str] = field(default_factory=list)
    lets: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def maybe(self, probability: float) -> bool:
        return self.chance.random() < probability

    def pick(self, usual: Any, wild: Any) -> Any:
        return self.chance.choice(wild if self.maybe(self.wild) else usual)

    def name(self) -> str:
        """A new name; rarely one that is taken."""
        self.count += 1
        return self.chance.choice(self.blobs) if self.blobs and self.maybe(self.wild / 4) else f"b{self.count}"


def random_net(chance: random.Random) -> str:
    """The text of a net."""
    writer = Writer(chance, chance.choice((0.0, 0.0, 0.02, 0.1, 0.3)))
    parts = [f'name: "n{chance.randrange(9)}"\n'] if writer.maybe(0.5) else []
    for name in ("w", "v"):
        if writer.maybe(0.4):
            writer.lets[name] = str(writer.pick(INTEGERS, WILD_INTEGERS))
            parts.append(f"let {name}: {writer.lets[name]}\n")
    parts += [given(writer, chance.choice(SHAPES)) for _ in range(chance.randint(1, 3))]
    for _ in range(chance.choice((1, 2, 3, 5, 8, 13))):
        parts.append(structured(writer) if writer.maybe(0.15) else any_layer(writer))
    if writer.maybe(0.4):
        parts.append(solver(writer))
    return "".join(parts)


def given(writer: Writer, shape: tuple[int, ...], name: str = "") -> str:
    """An Input layer."""
    name = name or writer.name()
    writer.blobs.append(name)
    dims = "".join(f" dim: {n}" for n in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{{dims} }} }} }}\n'


def any_layer(writer: Writer) -> str:
    """One layer: an example with its inputs, or one of random fields."""
    cls = writer.chance.choice([cls for _, cls in sorted(LAYERS.known().items())])
    if cls.examples and writer.maybe(0.7):
        return example(writer, cls, writer.chance.choice(cls.examples))
    return drawn(writer, cls)


def example(writer: Writer, cls: type[Layer], shown: Example) -> str:
    """An example of a layer type, with names of its own, and with some fields of the type beside those it has."""
    text, parts = shown.text, []
    names = {}
    for blob, shape in shown.inputs.items():
        fitting = not (writer.blobs and writer.maybe(writer.wild))
        names[blob] = writer.name() if fitting else writer.chance.choice(writer.blobs)
        if fitting:
            parts.append(given(writer, shape, names[blob]))
    for top in set(re.findall(r'top: "(\w+)"', text)) - set(names):
        names[top] = writer.name()
    renamed = lambda found: f'{found[1]}"{names.get(found[2], found[2])}"'
    text = re.sub(r'((?:bottom|top): )"(\w+)"', renamed, text)
    writer.blobs += [names[top] for top in names if top not in shown.inputs]
    if writer.maybe(2 * writer.wild):
        more = fields(writer, [spec for spec in cls.params().values() if not spec.beside], 1)
        if cls.block and f"{cls.block} {{" in text:
            text = text.replace(f"{cls.block} {{", f"{cls.block} {{ {more}", 1)
    return "".join(parts) + text + "\n"


def drawn(writer: Writer, cls: type[Layer]) -> str:
    """A layer of random fields, with as many bottoms and tops as its type takes."""
    bottoms = [writer.chance.choice(writer.blobs) for _ in range(arity(writer, cls.n_bottoms))]
    bottoms = [f"no{blob}" if writer.maybe(writer.wild / 3) else blob for blob in bottoms]
    tops = [writer.name() for _ in range(arity(writer, cls.n_tops))]
    if bottoms and tops and writer.maybe(0.15):
        tops[0] = bottoms[0]
    writer.blobs += [top for top in tops if top not in writer.blobs]
    kind = writer.pick([cls.type], [cls.type, "Relu", "", "Conv"])
    words = [f'name: "{tops[0] if tops else writer.name()}" type: "{kind}"']
    words += [f'bottom: "{blob}"' for blob in bottoms] + [f'top: "{top}"' for top in tops]
    own = [spec for spec in cls.params().values() if not spec.beside]
    if own and cls.block:
        words.append(f"{cls.block} {{ {fields(writer, own, 1)} }}")
    taken = ("name", "bottom", "top", "type")
    rare = [spec for spec in cls.params().values() if spec.beside and spec.name not in taken]
    if writer.maybe(0.2):
        words.append(fields(writer, writer.chance.sample(rare, 1), 1, always=True))
    return f"layer {{ {' '.join(words)} }}\n"


def arity(writer: Writer, allowed: Any) -> int:
    least, most = (allowed, allowed) if isinstance(allowed, int) else allowed
    most = least + 2 if most is None else most
    return writer.pick([writer.chance.randint(least, most)], [0, 1, 2, 5])


def fields(writer: Writer, specs: list[Param], depth: int, always: bool = False) -> str:
    """Fields of a message: those that are required, and a few others."""
    few = min(0.5, 2 / max(len(specs), 1))
    words = []
    for spec in specs:
        needed = spec.required and not writer.maybe(writer.wild / 3)
        if not (always or needed or writer.maybe(few)):
            continue
        times = writer.chance.choice((1, 1, 2, 3)) if spec.repeated or writer.maybe(writer.wild / 5) else 1
        words += [f"{spec.name}{value(writer, spec, depth)}" for _ in range(times)]
    if writer.maybe(writer.wild / 5):
        words.append(f"nosuch: {writer.chance.choice(INTEGERS)}")
    return " ".join(words)


def value(writer: Writer, spec: Param, depth: int) -> str:
    """A value of a field with what stands before it: `: 3`, ` { dim: 2 }`."""
    of: Any = writer.pick([spec.type], [spec.type, spec.type, int, str, float])
    if isinstance(of, type) and issubclass(of, Block):
        return f" {{ {message(writer, of, depth + 1) if depth < DEEPEST else ''} }}"
    return f": {scalar(writer, spec, of)}"


def scalar(writer: Writer, spec: Param, of: Any) -> str:
    if isinstance(of, type) and issubclass(of, enum.Enum):
        return writer.pick(list(of.__members__), ["NO_SUCH", '"MAX"', "99"])
    if of is bool:
        return writer.pick(["true", "false"], ["0", "yes", '"true"'])
    if of is str:
        words = spec.choices or WORDS[: 5 if writer.wild else 3]
        return '"' + writer.pick(words, WORDS) + '"'
    if of is int and writer.lets and writer.maybe(0.2):
        name = writer.chance.choice(list(writer.lets))
        return f"${{{name} + {writer.chance.choice(INTEGERS)}}}"
    usual = INTEGERS if of is int else FLOATS
    allowed = [n for n in usual if spec.allows(float(n))] or usual
    return str(writer.pick(allowed, WILD_INTEGERS if of is int else WILD_FLOATS))


def message(writer: Writer, cls: type[Block], depth: int) -> str:
    """The inside of a message; the class that its `type` selects is drawn."""
    kind = ""
    if cls.selector:
        registry = next((r for r in (FILLERS, SOLVERS, POLICIES) if cls in type_of(r)), None)
        if registry is not None:
            chosen = writer.chance.choice(sorted(registry.known()))
            cls, kind = registry.known()[chosen], f'{cls.selector}: "{chosen}" '
    return kind + fields(writer, [spec for spec in cls.params().values() if spec.name != cls.selector], depth)


def type_of(registry: Any) -> set[type]:
    """The classes of a registry, and those that they derive from."""
    return {base for cls in registry.known().values() for base in cls.__mro__}


def solver(writer: Writer) -> str:
    """A solver with a policy and random fields."""
    rule = writer.chance.choice(sorted(SOLVERS.known()))
    policy = writer.chance.choice(sorted(POLICIES.known()))
    specs = [*SOLVERS.known()[rule].params().values(), *POLICIES.known()[policy].params().values()]
    once = list({spec.name: spec for spec in specs if spec.name not in ("type", "lr_policy", "base_lr")}.values())
    return f'solver {{ type: "{rule}" lr_policy: "{policy}" base_lr: {writer.pick(FLOATS, WILD_FLOATS)} {fields(writer, once, 1)} }}\n'


def structured(writer: Writer) -> str:
    """A layer in a choice, a loop or a template."""
    last = writer.chance.choice(writer.blobs)
    condition = writer.chance.choice(["true", "1 < 2", "not false", "w > 1", "len([1, 2]) == 2"])
    match writer.chance.randrange(3):
        case 0:
            return f"if {condition} {{\n{any_layer(writer)}}} else {{\n{any_layer(writer)}}}\n"
        case 1:
            name, times = writer.name(), writer.pick((1, 2, 5), (0, -1, 300, 10**7))
            writer.blobs += [f"{name}_{i}" for i in range(1, min(times, 3))]
            kind = writer.chance.choice(["ReLU", "Power", "Dropout", "BatchNorm", "Softmax", "Split"])
            return (
                f'layer {{ name: "{name}_0" type: "ReLU" bottom: "{last}" top: "{name}_0" }}\n'
                f"for i in range(1, {times}) {{\n"
                f'layer {{ name: "{name}_${{i}}" type: "{kind}" bottom: "{name}_${{i - 1}}" top: "{name}_${{i}}" }}\n}}\n'
            )
        case _:
            name = writer.name()
            writer.blobs.append(f"{name}_out")
            body = 'layer { name: "${name}" type: "InnerProduct" bottom: ${bottom} top: "${name}_out" '
            body += "inner_product_param { num_output: ${out} } }"
            again = f't_{name} {{ name: "{name}r" }}' if writer.maybe(writer.wild) else ""
            return (
                f"template t_{name}(name, bottom, out: {writer.pick(INTEGERS[1:], WILD_INTEGERS)}) {{ {body} {again} }}\n"
                f't_{name} {{ name: "{name}" bottom: "{last}" }}\n'
            )
