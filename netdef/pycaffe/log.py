"""`caffe.init_log` and `caffe.log`: lines in the format of glog, which Caffe's programs write."""

from __future__ import annotations

import logging
import sys

from ..training.glog import Lines

LOG = logging.getLogger("caffe")


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Shows messages from this level on (0 for information, 1 warnings, 2 errors), on stderr or not at all."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
    LOG.propagate = False
    LOG.setLevel((logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)[min(max(int(level), 0), 3)])
    if stderr:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Lines())
        LOG.addHandler(handler)
    else:
        LOG.addHandler(logging.NullHandler())


def log(message: str) -> None:
    """Writes one line of information."""
    if not LOG.handlers:
        init_log()
    LOG.info(message, stacklevel=2)
