"""Speedup by caching the outputs of frozen layers: a net with frozen convolutions, with and without the cache.

usage: python tests/benchmarks/frozen_features.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import netdef
from netdef.training import events

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.net"
FREEZE = 'solver { freeze: "conv.*|bn.*" '


def main() -> None:
    """Trains the net of the digits, twice as wide, with all layers but the last frozen."""
    with tempfile.TemporaryDirectory() as name:
        path = EXAMPLE.parent / "digits.net"
        wide = path.read_text().replace("num_output: 64", "num_output: 128").replace("num_output: 32", "num_output: 64")
        text = wide.replace("solver {", FREEZE, 1).replace('"data/', f'"{path.parent}/data/')
        for cached in (False, True):
            times: list[float] = []
            settings = {
                "solver.cache_frozen": cached,
                "solver.test_interval": 0,
                "solver.test_iter": [],
                "solver.snapshot": 0,
            }

            def watch(event: events.Event, times: list[float] = times) -> None:
                if isinstance(event, events.Display):
                    times.append(time.perf_counter())

            result = netdef.train(text, output=Path(name) / str(cached), set=settings, on_event=watch)
            per_iteration = (times[-1] - times[0]) / (20 * (len(times) - 1))
            print(
                f"cached: {cached!s:5}  {per_iteration * 1e3:.2f} ms per iteration, last loss {result.history[-1]['loss']:.6f}"
            )


if __name__ == "__main__":
    main()
