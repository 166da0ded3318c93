"""Time from start to the first iteration of a net, without and with compiled programs in the cache on disk.

usage: python tests/benchmarks/second_start.py [FILE]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.net"


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else str(EXAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NETDEF_CACHE": f"{folder}/cache"}
        for what in ("first", "second"):
            command = [sys.executable, "-m", "netdef", "train", path, "--max-iter", "1", "--output", f"{folder}/{what}"]
            begun = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            print(f"{what} start: {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
