"""Registries of named classes: each class in the modules of a package that declares a name is found automatically.

Layers, data layers, fillers, solvers, policies, formats of data sets and weight formats all use this mechanism. A
module is imported only when a name in one of its class statements is looked up, because a net uses a few of a hundred
modules. Entry points of other distributions are loaded only if the package itself does not have the name.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
HEAD = re.compile(r"^class \w+\(([^:]*)\):$", re.M)  # the head of a class, over one or more lines
QUOTED = re.compile(r"\"([^\"\n]+)\"")


class Refusal(NamedTuple):
    """Why there is no class of a name, and what to write instead."""

    reason: str
    hint: str | None = None


class Registry(Generic[T]):
    """Classes by name. `packages` are searched for modules; `group` is the entry point group of other distributions.

    `makers` maps the beginning of names of another library, such as `optax.`, to a module whose `make(name)` returns a
    class or a Refusal, and `candidates()` all names: the library is imported only for such a name."""

    def __init__(self, what: str, *packages: str, group: str | None = None, makers: Mapping[str, str] | None = None):
        self.what, self._packages, self._group, self._makers = what, packages, group, makers or {}
        self._classes: dict[str, type[T]] = {}
        self._loaded = self._asked_outside = False

    def add(self, name: str, cls: type[T]) -> None:
        """Registers a class. Raises TypeError if another class has the same name, unless its module was reloaded."""
        before = self._classes.get(name)
        if before is not None and (before.__module__, before.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two {self.what}s have the name {name!r}: {before.__module__} and {cls.__module__}")
        self._classes[name] = cls

    def get(self, name: str) -> type[T] | None:
        if (maker := self._maker(name)) is not None:
            made = maker.make(name)
            return made if isinstance(made, type) else None
        if name not in self._classes and not self._loaded:
            for module in self._homes.get(name, ()):
                importlib.import_module(module)
        if name not in self._classes:
            self._load()
        if name not in self._classes:
            self._load_outside()
        return self._classes.get(name)

    def refusal(self, name: str) -> Refusal | None:
        """Why another library's class of this name cannot be used; None if it can, or if the name is not of that."""
        maker = self._maker(name)
        made = maker.make(name) if maker else None
        return made if isinstance(made, Refusal) else None

    @property
    def starts(self) -> list[str]:
        """The beginnings of names of other libraries, such as `optax.`"""
        return list(self._makers)

    def names_of(self, start: str) -> list[str]:
        """The names that another library offers, a few of which may be refused; imports it."""
        maker = self._maker(start)
        return maker.candidates() if maker else []

    def _maker(self, name: str) -> ModuleType | None:
        module = next((module for start, module in self._makers.items() if name.startswith(start)), None)
        return importlib.import_module(module) if module else None

    def names(self) -> list[str]:
        """All names, including those of other distributions."""
        self._load()
        self._load_outside()
        return sorted(self._classes)

    def __iter__(self) -> Iterator[tuple[str, type[T]]]:
        return iter([(name, self._classes[name]) for name in self.names()])

    def known(self) -> dict[str, type[T]]:
        """The classes of the package itself, without entry points."""
        self._load()
        return self._classes

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A context in which entry points are loaded again; classes registered in it are removed at its end."""
        before = dict(self.known()), self._asked_outside
        self._asked_outside = False
        try:
            yield
        finally:
            self._classes, self._asked_outside = before

    def _load(self) -> None:
        if self._loaded:
            return
        for name, _ in self._modules():
            importlib.import_module(name)
        self._loaded = True

    def _modules(self) -> Iterator[tuple[str, Path]]:
        """Each module of the packages and its file."""
        for package in self._packages:
            for folder in getattr(importlib.import_module(package), "__path__", ()):
                for module in pkgutil.iter_modules([folder]):
                    yield f"{package}.{module.name}", Path(folder, f"{module.name}.py")

    @cached_property
    def _homes(self) -> dict[str, list[str]]:
        """Maps each quoted name in a class statement to its modules, if their source files are available."""
        found: dict[str, list[str]] = {}
        for module, path in self._modules():
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            for name in {name for head in HEAD.findall(text) for name in QUOTED.findall(head)}:
                found.setdefault(name, []).append(module)
        return found

    def _load_outside(self) -> None:
        if self._asked_outside or self._group is None:
            return
        self._asked_outside = True
        from importlib import metadata  # imported here because it is slow, and most files use only netdef's own names

        for point in metadata.entry_points(group=self._group):
            point.load()
