"""Time from the start of `netdef train` to its first iteration and to its end, without and with compiled programs in
the cache on disk.

usage: python tests/benchmarks/second_start.py [FILE ...]      (default: digits and face_bn)

The end includes a snapshot.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(path: str, output: str, cache: str) -> tuple[float, float]:
    """Returns the seconds to the display of the first iteration, and to the end."""
    command = [sys.executable, "-m", "netdef", "train", path, "--max-iter", "1", "--output", output]
    environment = os.environ | {"NETDEF_CACHE": cache, "PYTHONUNBUFFERED": "1"}
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = next(time.perf_counter() for line in process.stdout if line.startswith("iteration"))
        process.stdout.read()
    if process.returncode:
        raise SystemExit(process.returncode)
    return first - begun, time.perf_counter() - begun


def main() -> None:
    for path in sys.argv[1:] or [str(EXAMPLES / name) for name in ("digits.net", "face_bn.net")]:
        with tempfile.TemporaryDirectory() as folder:
            for what in ("cold", "warm"):
                first, end = start(path, f"{folder}/{what}", f"{folder}/cache")
                print(f"{Path(path).name}, {what}: first iteration after {first:.1f} s, end after {end:.1f} s")


if __name__ == "__main__":
    main()
