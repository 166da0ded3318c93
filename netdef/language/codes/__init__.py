"""The catalogue of everything that netdef can find wrong with a file: one `Code` per kind of fault, a file per stage.

To add one: write a module constant in the file of its stage, with a name in kebab-case that users will see, a summary
of a few fixed words, one paragraph of `why`, and the smallest files that show it: `wrong` and `right`.
Nothing else has to be told: `codes.NAME`, `netdef explain` and the tests find it.
"""

from __future__ import annotations

from types import ModuleType

from ..diagnostics import Code
from . import checks, expansion, meaning, net, syntax
from .checks import *  # noqa: F403 - `codes.NAME`, so that no list has to repeat the names
from .expansion import *  # noqa: F403
from .meaning import *  # noqa: F403
from .net import *  # noqa: F403
from .syntax import *  # noqa: F403

STAGES = (syntax, expansion, meaning, net, checks)


def catalogue(*stages: ModuleType) -> dict[str, Code]:
    """The codes of some stages by name, or all, in their order."""
    found = [code for stage in stages or STAGES for code in vars(stage).values() if isinstance(code, Code)]
    return {code.name: code for code in found}
