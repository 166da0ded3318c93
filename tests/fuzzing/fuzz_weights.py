"""Damaged weight files in great number: what the readers make of them, and how much time and memory they take.

    python tests/fuzzing/fuzz_weights.py                    10,000 mutations of each kind of file
    python tests/fuzzing/fuzz_weights.py 500 npz            so many of these kinds

Each kind runs in a process of its own, so that a crash is seen as one.  `numbers`: other numbers in the right places,
which no format but .npz can know; `places`: other names or shapes, which a net does not take.  Memory is the largest
rise of the process's peak over one read (Linux), less 4 MB that a reader may take for itself, as a multiple of the
damaged file; of files of about 13 MB, since small ones show nothing.
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

LARGE = 100  # mutations of a large file at least; one for 50 of the small one
SLACK = 4 << 20  # bytes
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back, so that every read is seen to rise


def work(kind: str, mutations: int) -> None:
    """All mutations of one kind; prints what became of them."""
    from weight_files import NET

    import netdef

    model = netdef.compile(NET)
    seen, slowest, _ = _attack(model, kind, mutations)
    large = netdef.compile(NET.replace("num_output: 5 ", "num_output: 24000 "))
    more, _, memory = _attack(large, kind, max(mutations // 50, LARGE))
    counts = "".join(f"{seen[what]:>9}" for what in ("refused", "equal", "numbers", "places"))
    print(f"{counts}{slowest * 1e3:>11.0f} ms{sum(more.values()):>8}{memory:>8.2f} x", flush=True)


def _attack(model, kind: str, mutations: int) -> tuple[Counter, float, float]:
    """(verdicts, longest read in seconds, greatest rise of memory as a multiple of the file)."""
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
            begin = time.perf_counter()
            try:
                seen[verdict(kind, path, wanted, model.net)] += 1
            except Exception as error:
                kept = Path(f"{kind}.{i}.bad")
                kept.write_bytes(bad)
                raise SystemExit(f"mutation {i}, kept as {kept}: {type(error).__name__}: {error}") from error
            slowest = max(slowest, time.perf_counter() - begin)
            greatest = max(greatest, (_status("VmHWM") - before - SLACK) / max(len(bad), 1))
    return seen, slowest, greatest


def _peak_from_here() -> int:
    """Let the peak of memory begin anew; bytes in use now."""
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
    print(f"{'kind':<16}  refused    equal  numbers   places     slowest   large  memory")
    for kind in words[1:] or READERS:
        command = [sys.executable, __file__, "--kind", kind, str(mutations)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | AT_ONCE)
        failed += done.returncode != 0
        said = done.stdout or f"  exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}\n"
        print(f"{kind:<16}{said}", end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
