"""Modes and devices: JAX's default device, and the warning without an accelerator."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

import netdef
import netdef.pycaffe as caffe

TEXT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def settings(monkeypatch):
    """Records updates of JAX's configuration without applying them."""
    given = {}
    monkeypatch.setattr(jax.config, "update", given.__setitem__)
    return given


def test_modes_on_a_machine_with_accelerators(settings, monkeypatch):
    gpus = [SimpleNamespace(platform="gpu", id=i) for i in range(2)]
    cpu = SimpleNamespace(platform="cpu", id=0)
    monkeypatch.setattr(jax, "devices", lambda kind=None: [cpu] if kind == "cpu" else gpus)
    caffe.set_mode_gpu()
    assert settings["jax_default_device"] is gpus[0]
    caffe.set_device(1)
    assert settings["jax_default_device"] is gpus[1]
    with pytest.raises(netdef.NetdefError, match="no device 2: JAX finds 2, numbered from 0"):
        caffe.set_device(2)
    caffe.set_mode_cpu()
    assert settings["jax_default_device"] is cpu


def test_without_any_the_cpu_computes(settings, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda kind=None: [SimpleNamespace(platform="cpu")])
    with pytest.warns(UserWarning, match="JAX finds no accelerator, so the CPU is used"):
        caffe.set_mode_gpu()
    caffe.set_device(0)
    assert settings == {}


def test_seeds(request):
    request.addfinalizer(lambda: caffe.set_random_seed(0))
    first = caffe.Net(TEXT, caffe.TEST).params["ip"][0].data
    caffe.set_random_seed(5)
    second, third = (caffe.Net(TEXT, caffe.TEST).params["ip"][0].data for _ in range(2))
    assert (second == third).all() and (first != second).any()
