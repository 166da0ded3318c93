"""The functions of optax by name: which there are, their arguments as the fields of a block, and whether they work.

Only names are looked up, in the modules `optax` and `optax.contrib` themselves: nothing is evaluated, and a name with
another dot is none of them. An argument is a field if it is a number, a boolean or a word.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
import typing
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from ..language import codes
from ..language.diagnostics import Report
from ..lazy import np, optax
from ..schema import Block, param

PREFIX = "optax."
PLACES = {"optax.contrib.": "optax.contrib", PREFIX: "optax"}  # the longer prefix first
ESSENTIAL = ("boundaries_and_scales",)  # arguments that have a default, which is of no use
DTYPES = ("float32", "bfloat16", "float16")


class Arguments(Block):
    """`optax_param { b1: 0.8 }`: the arguments of a function of optax; each function has a class of its own."""

    name: ClassVar[str] = ""
    unfit: ClassVar[Mapping[str, str]] = {}  # arguments that are no fields, and why

    def values(self) -> dict[str, Any]:
        """The arguments that differ from the defaults of the function, by name."""
        values = ((spec, getattr(self, attribute)) for attribute, spec in self.params().items())
        return {spec.name: value for spec, value in values if value is not None and value != spec.default}

    @classmethod
    def refused(cls) -> Mapping[str, str]:
        return cls.unfit

    @classmethod
    def wrong(cls, values: Mapping[str, Any]) -> str:
        """Why the function does not work with these arguments; empty if it does."""
        return ""

    def verify(self, report: Report) -> None:
        if why := self.wrong(self.values()):
            report.add(codes.OUT_OF_RANGE, self.span, f"`{self.name}` does not accept these arguments: {why}")


def function(name: str) -> Any:
    """The public function of optax with this name, such as "optax.adafactor"; None if there is none."""
    prefix = next((prefix for prefix in PLACES if name.startswith(prefix)), None)
    found = _functions(PLACES[prefix]).get(name.removeprefix(prefix)) if prefix else None
    return found


def functions() -> Iterator[tuple[str, Any]]:
    """All public functions of optax, by their names in a file."""
    for prefix, module in reversed(PLACES.items()):
        for name, found in _functions(module).items():
            yield f"{prefix}{name}", found


@functools.cache
def _functions(module: str) -> dict[str, Any]:
    names = vars(importlib.import_module(module))
    plain = lambda found: found.func if isinstance(found, functools.partial) else found  # `nadam` is `adam` with a flag
    return {
        name: names[name]
        for name in sorted(names)
        if not name.startswith("_") and inspect.isfunction(plain(names[name]))
    }


def signature(found: Any) -> Mapping[str, inspect.Parameter]:
    """The arguments of a function by name."""
    return inspect.signature(found).parameters


def returns_schedule(found: Any) -> bool:
    return inspect.signature(found).return_annotation == optax.Schedule


def returns_optimizer(found: Any) -> bool:
    of = inspect.signature(found).return_annotation
    if of is inspect.Signature.empty:  # a few functions of optax.contrib
        return "learning_rate" in signature(found)
    return isinstance(of, type) and issubclass(of, optax.GradientTransformation)


def arguments_class(name: str, found: Any, without: Mapping[str, str], **extra: Any) -> type[Arguments]:
    """The class of the arguments of a function; those of `without`, each with the reason, are no fields."""
    docs = _documented(inspect.getdoc(found) or "") or _documented(inspect.getdoc(getattr(found, "func", None)) or "")
    fields: dict[str, Any] = {}
    hints: dict[str, str] = {}
    unfit = dict(without)
    for argument in signature(found).values():
        if argument.name in without:
            continue
        kind = _kind(argument)
        if kind is None:
            unfit[argument.name] = (
                f"`{argument.name}` of {name} is not a number, a boolean or a word, so it cannot be given in a file."
            )
            continue
        of, choices = kind
        doc = docs.get(argument.name, f"`{argument.name}` of {name}.")
        given = {} if argument.default is argument.empty else {"default": _default(argument)}
        fields[f"{argument.name}_"] = param(doc, choices=choices, **given)
        hints[f"{argument.name}_"] = of
    body = {"__annotations__": hints, "__module__": __name__, "__doc__": f"The arguments of {name}."}
    return type("OptaxArguments", (Arguments,), {**fields, **body, "name": name, "unfit": unfit, **extra})


def missing(found: Any, arguments: type[Arguments], set_elsewhere: Collection[str] = ()) -> str:
    """Why a function cannot be used from a file: it requires an argument that is no field. Empty if it can."""
    needed = [p.name for p in signature(found).values() if p.default is p.empty or p.name in ESSENTIAL]
    unfit = [f"`{argument}`" for argument in needed if argument in arguments.unfit and argument not in set_elsewhere]
    return f"it requires {', '.join(unfit)}, which cannot be given in a file" if unfit else ""


@contextmanager
def quiet() -> Iterator[None]:
    """A context without warnings: those of optax are about its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def failure(work: Any) -> str:
    """The first line of the error that a function of optax raises; empty if it raises none."""
    try:
        with quiet():
            work()
    except Exception as error:  # of another library: a ValueError, a TypeError, an assertion
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0].rstrip(".") + "."
    return ""


def summary(found: Any) -> str:
    """The first sentence of the documentation of a function."""
    first = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"\.(?:\s|$)", first, maxsplit=1)[0]


def _default(argument: inspect.Parameter) -> Any:
    """The default of an argument, of a dtype its name."""
    named = "dtype" in argument.name and argument.default is not None
    return np.dtype(argument.default).name if named else argument.default


def _kind(argument: inspect.Parameter) -> tuple[str, tuple[str, ...]] | None:
    """The type of the field of an argument, as an annotation, and its choices; None if it cannot be a field."""
    if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
        return None
    default, members = argument.default, set(_members(argument.annotation))
    words = tuple(m for m in members if isinstance(m, str))
    if words:  # of a Literal, in the order of the annotation
        return "str", tuple(m for m in _members(argument.annotation) if isinstance(m, str))
    if isinstance(default, bool) or members == {bool}:
        return "bool", ()
    if "dtype" in argument.name:
        return "str | None", DTYPES
    if str in members:
        return "str | None", ()
    if isinstance(default, tuple) and all(isinstance(value, (int, float)) for value in default):
        return "tuple[float, ...]", ()
    if not members & {int, float} or any(_is_tree(member) for member in members):
        return None
    if members <= {int, type(None)} or isinstance(default, int):
        return "int | None", ()
    return ("float | None", ()) if default is argument.empty or isinstance(default, float | None) else None


def _is_tree(member: Any) -> bool:
    """Whether a type is one of several numbers: arrays in a structure, such as one for each weight."""
    return member in (Iterable, Mapping, dict) or (isinstance(member, type) and issubclass(member, tuple))


def _members(annotation: Any) -> Iterator[Any]:
    """The types of a union, the values of a Literal, or an annotation itself."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _members(each)
    elif origin is typing.Literal:
        yield from typing.get_args(annotation)
    else:
        yield origin or annotation


def _documented(text: str) -> dict[str, str]:
    """The meanings of arguments, from the section `Args:` of a docstring."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n(?=[ \t]))*)", text, re.M)
    if section is None:
        return {}
    found: dict[str, str] = {}
    body = inspect.cleandoc("\n" + section[1])
    for entry in re.split(r"\n(?=\S)", body):
        name, colon, meaning = entry.partition(":")
        if colon and re.fullmatch(r"\w+(?: \(.*\))?", name.strip()):
            found[name.split()[0]] = re.sub(r":\w+:`([^`]*)`", r"`\1`", " ".join(meaning.replace("``", "`").split()))
    return found
