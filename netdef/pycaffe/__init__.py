"""The interface of pycaffe, for existing scripts: only the import changes, to `import netdef.pycaffe as caffe`.

    net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
    net.blobs["data"].data[...] = caffe.io.load_image("cat.jpg").transpose(2, 0, 1)
    net.forward()["prob"]
    net.params["conv1"][0].data[...] *= 2                       # the next forward pass uses the new values
    caffe.get_solver("solver.prototxt").step(100)

With `sys.modules["caffe"] = netdef.pycaffe`, scripts and modules that import `caffe` run unchanged.

Arrays are NumPy arrays that are updated in place; JAX computes the passes. Differences from pycaffe: Caffe's Split
layers and their copies of blobs are not listed (the name of a copy refers to the original blob); errors raise
`netdef.NetdefError`, which is a RuntimeError, rather than abort the process; a script that trains on several GPUs by
NCCL is replaced by `netdef train --gpu`, and stops with an error that says so.
"""

from __future__ import annotations

import sys

from ..layers._caffe_class import CaffeLayer as Layer
from ..layers.python import AsCaffe
from . import coord_map, draw, io, proto
from .blobs import Blob
from .classifier import Classifier
from .detector import Detector
from .devices import (
    NCCL,
    has_nccl,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .log import init_log, log
from .net import TEST, TRAIN, Net
from .net_spec import NetSpec, layers, params, to_proto
from .solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
    layer_type_list,
)
from .timer import Timer

__version__ = "1.0.0"  # the version of pycaffe whose interface this is

sys.meta_path.insert(0, AsCaffe(below=sys.modules[__name__]))  # for `import caffe.io`, if a script names it `caffe`

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "coord_map",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
