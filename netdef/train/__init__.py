"""Training: `netdef.train(path)` runs a solver on its nets; `netdef.train.events` are what it tells on the way."""

from __future__ import annotations

import sys
import types
from typing import Any

from .events import Event
from .run import Result, train

__all__ = ["Event", "Result", "train"]


class _Module(types.ModuleType):
    """Importing a submodule makes this package the attribute `netdef.train`, which must stay the function that users
    call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Module
