"""Starter nets: a commented net for the data in a folder or a file, which trains as it is.

made = starter(Path("photos"), Path("photos.net"))
made.text     # the net
made.found    # lines about the data
"""

from .starter import Request, Starter, starter
from .words import stem

__all__ = ["Request", "Starter", "starter", "stem"]
