"""Named classes that find themselves: every class of a package's modules that declares a name is in its registry.

There are five: layers, fillers, solvers, policies and data sources share this one mechanism.  Nothing is imported
until a name is asked for; entry points of other distributions are looked up only when the package itself lacks a name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes by name.  `packages` are searched for modules; `group` is the entry-point group of other
    distributions."""

    def __init__(self, what: str, *packages: str, group: str | None = None):
        self.what, self._packages, self._group = what, packages, group
        self._classes: dict[str, type[T]] = {}
        self._loaded = self._asked_outside = False

    def add(self, name: str, cls: type[T]) -> None:
        """Register a class; two classes of one name are a mistake, unless a module is loaded again."""
        before = self._classes.get(name)
        if before is not None and (before.__module__, before.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two {self.what}s are called {name!r}: {before.__module__} and {cls.__module__}")
        self._classes[name] = cls

    def get(self, name: str) -> type[T] | None:
        self._load()
        if name not in self._classes:
            self._load_outside()
        return self._classes.get(name)

    def names(self) -> list[str]:
        """Every name, those of other distributions included."""
        self._load()
        self._load_outside()
        return sorted(self._classes)

    def __iter__(self) -> Iterator[tuple[str, type[T]]]:
        return iter([(name, self._classes[name]) for name in self.names()])

    def known(self) -> dict[str, type[T]]:
        """The classes that need no look outside the package."""
        self._load()
        return self._classes

    def _load(self) -> None:
        if self._loaded:
            return
        for name in self._packages:
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
                importlib.import_module(f"{name}.{module.name}")
        self._loaded = True

    def _load_outside(self) -> None:
        if self._asked_outside or self._group is None:
            return
        self._asked_outside = True
        from importlib import metadata  # slow to import, and most files name only what is here

        for point in metadata.entry_points(group=self._group):
            point.load()
