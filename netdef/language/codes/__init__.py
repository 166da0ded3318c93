"""The catalog of all errors and warnings about a file: one `Code` for each kind, one module for each stage.

To add one, define a constant in the module of its stage, with a name in kebab-case that users will see, a summary of a
few fixed words, one paragraph of `why`, and the smallest files that show it: `wrong` and `right`.
`codes.NAME`, `netdef explain` and the tests find it automatically.
"""

from __future__ import annotations

from types import ModuleType

from ..diagnostics import Code
from . import checks, expansion, meaning, net, syntax
from .checks import *  # noqa: F403 - makes `codes.NAME` available without a list of the names
from .expansion import *  # noqa: F403
from .meaning import *  # noqa: F403
from .net import *  # noqa: F403
from .syntax import *  # noqa: F403

STAGES = (syntax, expansion, meaning, net, checks)


def catalogue(*stages: ModuleType) -> dict[str, Code]:
    """The codes of the given stages, or of all stages, by name and in order."""
    found = [code for stage in stages or STAGES for code in vars(stage).values() if isinstance(code, Code)]
    return {code.name: code for code in found}
