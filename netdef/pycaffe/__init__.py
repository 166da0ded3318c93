"""The names of pycaffe, for scripts that exist: `import netdef.pycaffe as caffe`, and the rest stays as it is.

    net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
    net.blobs["data"].data[...] = caffe.io.load_image("cat.jpg").transpose(2, 0, 1)
    net.forward()["prob"]
    net.params["conv1"][0].data[...] *= 2                       # is what the next forward computes with
    caffe.get_solver("solver.prototxt").step(100)

Arrays are numpy's and stay where they are; jax computes.  Differs from pycaffe: the copies that Caffe's Split layers
make are not listed among layers and blobs (their names still find the blob), `backward` is the gradient of the last
forward pass, computed anew from what that pass took, and faults are `netdef.NetdefError`s in place of an abort.
"""

from __future__ import annotations

from ..layers._caffe_class import CaffeLayer as Layer
from . import io, proto
from .blobs import Blob
from .classifier import Classifier
from .devices import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
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

__version__ = "1.0.0"  # of the pycaffe whose names these are

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "get_solver",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
]
