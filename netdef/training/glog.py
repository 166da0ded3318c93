"""Log lines in the format of glog, in which Caffe's programs write, and which its scripts read (`parse_log.py`)."""

from __future__ import annotations

import logging
import time


class Lines(logging.Formatter):
    """`I0102 03:04:05.678901  1234 solver.py:56] message`"""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        level = {logging.DEBUG: "I", logging.CRITICAL: "F"}.get(record.levelno, record.levelname[0])
        micro = int(record.created % 1 * 1e6)
        place = f"{record.filename}:{record.lineno}"
        return f"{level}{when}.{micro:06d} {record.process:5d} {place}] {record.getMessage()}"
