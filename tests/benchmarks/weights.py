"""Time and memory for loading weight files, compared with numpy on the same arrays.

usage: python tests/benchmarks/weights.py            files of 10, 100 and 550 MB
       python tests/benchmarks/weights.py 10 100     files of these sizes in MB

Each load runs three times, in its own process; memory is the increase of the peak, as a multiple of the file size
(Linux).  Files are written to a temporary folder, so they are in the page cache.  The last column compiles a net of
these layers with its weights.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LAYERS = 16  # the largest has three quarters of all parameters, as in VGG


def write(folder: Path, megabytes: int) -> Path:
    """Writes a net of InnerProduct layers and its weights in three formats."""
    import numpy as np

    from netdef.interop.dialects import in_memory
    from netdef.interop.entries import Entry
    from netdef.interop.weights import write_weights

    total = megabytes * 250_000
    width = 1000
    rows = [total * 3 // 4 // width] + [total // 4 // width // (LAYERS - 1)] * (LAYERS - 1)
    rng = np.random.default_rng(0)
    entries = []
    layer = 'layer {{ name: "ip{0}" type: "InnerProduct" bottom: "x" top: "y{0}" '
    layer += "inner_product_param {{ num_output: {1} }} }}"
    text = [f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {width} }} }} }}']
    for i, n in enumerate(rows):
        arrays = (rng.random((n, width), np.float32), np.zeros(n, np.float32))
        entries.append(Entry(f"ip{i}", tuple(map(in_memory, arrays)), "InnerProduct", ("x",), (f"y{i}",)))
        text.append(layer.format(i, n))
    for ending in ("caffemodel", "caffemodel.h5", "npz"):
        write_weights(folder / f"w.{ending}", entries)
    (folder / "net.prototxt").write_text("\n".join(text))
    return folder


LOADS = {
    "numpy .npz": "d = np.load(F / 'w.npz'); keep = {k: d[k] for k in d.files}",
    ".caffemodel": "keep = netdef.interop.read_weights(F / 'w.caffemodel')",
    ".caffemodel.h5": "keep = netdef.interop.read_weights(F / 'w.caffemodel.h5')",
    ".npz": "keep = netdef.interop.read_weights(F / 'w.npz')",
    "compile": "keep = netdef.compile(F / 'net.prototxt', weights=F / "
    "'w.caffemodel')\njax.block_until_ready(nnx.state(keep))",
}


def measured(folder: Path, code: str) -> tuple[float, float]:
    """Returns (seconds, increase of peak memory in bytes) of one load in its own process."""
    script = (
        "import pathlib, re, time, numpy as np, h5py, jax, netdef, netdef.interop.formats.hdf5, netdef.model\n"
        "from flax import nnx; from netdef.caffe_proto import messages; messages(); jax.numpy.zeros(1)\n"
        f"F = pathlib.Path({str(folder)!r})\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        f"before, begin = peak(), time.perf_counter()\n{code}\n"
        "print(time.perf_counter() - begin, (peak() - before) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory)


def main(sizes: list[int]) -> None:
    print("MB     " + "".join(f"{name:>24}" for name in LOADS))
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = write(Path(name), megabytes)
            size = (folder / "w.caffemodel").stat().st_size
            cells = []
            for code in LOADS.values():
                runs = [measured(folder, code) for _ in range(3)]
                seconds, memory = min(r[0] for r in runs), max(r[1] for r in runs)
                cells.append(f"{seconds:10.3f} s {memory / size:6.2f} x  ")
            print(f"{size / 1e6:6.0f} " + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [10, 100, 550])
