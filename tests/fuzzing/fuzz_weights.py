"""Many damaged weight files: the results of the readers, and the time and memory that they use.

usage: python tests/fuzzing/fuzz_weights.py                    10,000 mutations of each file format
       python tests/fuzzing/fuzz_weights.py 500 npz            500 mutations of this format

Each format runs in its own process, so that a crash is noticed.  `refused`: the reader reports an error; `values`:
other values of the right names and shapes, which only .npz can detect; `shapes`: other names or shapes, which a net does
not load.  Memory is the largest increase of the process's peak during one read (Linux), minus 4 MB of overhead, as a
multiple of the size of the damaged file, measured with files of about 13 MB.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

LARGE = 100  # least number of mutations of the large file; otherwise 1/50 of those of the small one
SLACK = 4 << 20  # bytes
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # returns freed memory to the system


def work(kind: str, mutations: int) -> None:
    """Reads all mutations of one format and prints the results."""
    from weight_files import NET

    import netdef

    model = netdef.compile(NET)
    seen, slowest, _ = _attack(model, kind, mutations)
    large = netdef.compile(NET.replace("num_output: 5 ", "num_output: 24000 "))
    more, _, memory = _attack(large, kind, max(mutations // 50, LARGE))
    counts = "".join(f"{seen[what]:>9}" for what in ("refused", "equal", "values", "shapes"))
    print(f"{counts}{slowest * 1e3:>11.0f} ms{sum(more.values()):>8}{memory:>8.2f} x", flush=True)


def _attack(model, kind: str, mutations: int) -> tuple[Counter, float, float]:
    """Returns (verdicts, longest read in seconds of CPU, largest increase of memory as a multiple of the file size)."""
    from weight_fuzz import READERS, files_of, mutated, verdict

    rng, seen, slowest, greatest = random.Random(kind), Counter(), 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        whole = files_of(model, Path(name))[kind]
        data, wanted = whole.read_bytes(), READERS[kind](whole)
        path = Path(name) / f"x.{kind}"
        for i in range(mutations):
            bad = mutated(data, rng)
            path.write_bytes(bad)
            before = _peak_from_here()
            begin = time.process_time()
            try:
                seen[verdict(kind, path, wanted, model.net)] += 1
            except Exception as error:
                kept = Path(f"{kind}.{i}.bad")
                kept.write_bytes(bad)
                raise SystemExit(f"mutation {i}, saved as {kept}: {type(error).__name__}: {error}") from error
            slowest = max(slowest, time.process_time() - begin)
            greatest = max(greatest, (_status("VmHWM") - before - SLACK) / max(len(bad), 1))
    return seen, slowest, greatest


def _peak_from_here() -> int:
    """Resets the peak of memory and returns the bytes in use."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def main(words: list[str]) -> int:
    from weight_fuzz import READERS

    if words[:1] == ["--kind"]:
        work(words[1], int(words[2]))
        return 0
    mutations = int(words[0]) if words else 10_000
    failed = 0
    print(f"{'format':<16}  refused    equal   values   shapes     slowest   large  memory")
    for kind in words[1:] or READERS:
        command = [sys.executable, __file__, "--kind", kind, str(mutations)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | AT_ONCE)
        failed += done.returncode != 0
        said = done.stdout or f"  exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}\n"
        print(f"{kind:<16}{said}", end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
