"""Collects the source of functions and classes, with everything in this package that they use.

Names from JAX, Flax and Python are imported; constants of this package are written as literals.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
_IMPORTS = {  # the names that copied code may import
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "lax": "from jax import lax",
    "Tracer": "from jax.core import Tracer",
    "nnx": "from flax import nnx",
    "np": "import numpy as np",
    "math": "import math",
    "itertools": "import itertools",
    "cache": "from functools import cache",
    "partial": "from functools import partial",
    "reduce": "from functools import reduce",
    "dataclass": "from dataclasses import dataclass",
    "replace": "from dataclasses import replace",
    "Sequence": "from collections.abc import Sequence",
    "Callable": "from collections.abc import Callable",
    "Any": "from typing import Any",
    "NamedTuple": "from typing import NamedTuple",
    "Path": "from pathlib import Path",
}


def copied(wanted: Iterable[Any]) -> tuple[list[str], set[str]]:
    """Returns the pieces of source, each after the ones that it uses, and the names of `_IMPORTS` in them."""
    pieces: dict[str, str] = {}
    imported: set[str] = set()
    for thing in wanted:
        _take(thing, pieces, imported)
    return list(pieces.values()), imported


def _take(thing: Any, pieces: dict[str, str], imported: set[str]) -> None:
    """Adds a function or class after its dependencies."""
    name = thing.__name__
    if name in pieces:
        return
    source = textwrap.dedent(inspect.getsource(thing)).rstrip()
    module = sys.modules[thing.__module__]
    pieces[name] = ""  # a placeholder while its dependencies are added, because functions may call each other
    for used in _names(source):
        _follow(used, module, pieces, imported)
    del pieces[name]
    pieces[name] = source


def _follow(name: str, module: ModuleType, pieces: dict[str, str], imported: set[str]) -> None:
    value = vars(module).get(name, _follow)
    if value is _follow or hasattr(builtins, name) and name not in vars(module):
        return
    if name == "Array":
        pieces.setdefault(name, "Array = jax.Array")
        imported.add("jax")
    elif name in _IMPORTS:
        imported.add(name)
    elif getattr(value, "__module__", "").partition(".")[0] == _PACKAGE and hasattr(value, "__name__"):
        _take(value, pieces, imported)
    elif isinstance(value, (int, float, str)):
        pieces.setdefault(name, f"{name} = {value!r}")


def _names(source: str) -> list[str]:
    """Returns the distinct names that a piece of code refers to, in order, including those in annotations."""
    found = (node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return list(dict.fromkeys(found))


def import_lines(names: set[str]) -> list[str]:
    """Returns the import statements for some names, sorted as by a formatter: the standard library, then others."""
    lines: dict[str, list[str]] = {}
    plain = sorted({_IMPORTS[name] for name in names if _IMPORTS[name].startswith("import")})
    for name in names:
        if _IMPORTS[name].startswith("from"):
            head, _, what = _IMPORTS[name].partition(" import ")
            lines.setdefault(head, []).append(what)
    froms = [f"{head} import {', '.join(sorted(whats))}" for head, whats in sorted(lines.items())]
    ours = lambda line: line.split()[1].partition(".")[0] in ("jax", "flax", "numpy")
    groups = [[x for x in (*plain, *froms) if ours(x) is foreign] for foreign in (False, True)]
    return "\n\n".join("\n".join(group) for group in groups if group).splitlines()
