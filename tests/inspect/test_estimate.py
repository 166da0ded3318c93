"""`netdef time --target`: targets, refusals, the report, and programs for devices that are not present.

Programs are compiled for TPUs and GPUs where their compilers are installed; everywhere, for several simulated CPUs.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from netdef import load
from netdef.inspect import estimate as estimates
from netdef.inspect.collectives import Collective
from netdef.inspect.estimate import Compiled, Estimate, estimate, program_of, refused
from netdef.inspect.layer_cost import Cost, LayerCost, layer_costs
from netdef.inspect.target import (
    CHIPS,
    ENVIRONMENT,
    Target,
    TargetError,
    environment,
    require_compiler,
    target_of,
)
from netdef.inspect.timing import dividing, measure
from netdef.language.errors import NetdefError

NET = """
name: "Small"
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 16 dim: 3 dim: 8 dim: 8 } shape { dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 momentum: 0.9 }
"""
PARAMETERS = 6 * 3 * 9 + 6 + 5 * 216 + 5
NO_TPU = importlib.util.find_spec("libtpu") is None
NO_CUDA = importlib.util.find_spec("jax_cuda12_plugin") is None
ROOT = Path(__file__).parents[2]

STEP = Compiled(
    name="step",
    images=256,
    compile_s=93.4,
    flop=72_920_317_952.0,
    traffic=5_199_801_344.0,
    arguments=50_656_256,
    results=49_378_816,
    temporary=300_384_256,
    memory=351_043_584,
    fits=True,
    refusal="",
    collectives=(Collective("all-reduce", 25, 46_936_416),),
    loops=False,
)
LAYERS = (
    LayerCost("in", "Input", (256, 1, 50, 50), Cost()),
    LayerCost("conv", "Convolution", (256, 32, 50, 50), Cost(368e6, 737e6, 84e6, 168e6)),
)
FACE = Estimate("Face", "TRAIN", 256, Target("v5e", "2x2"), 4, "float32", "0.10.2", STEP, LAYERS)
WITHOUT = {
    "memory": None,
    "traffic": None,
    "arguments": None,
    "results": None,
    "temporary": None,
    "collectives": (),
}
TOO_LARGE = replace(
    STEP,
    **WITHOUT,
    fits=False,
    refusal="Ran out of memory on HBM, the total memory required for HLO temporaries (71.53G) exceeds available HBM (15.75G)",
)


def test_the_report(golden):
    reports = {
        "a step on four chips": FACE,
        "a program that does not fit": replace(FACE, program=TOO_LARGE),
        "a loop": replace(FACE, program=replace(STEP, traffic=None, loops=True)),
        "a GPU": replace(
            FACE, target=Target("h100", "8"), devices=1, program=replace(STEP, traffic=None, collectives=())
        ),
        "a forward pass in bfloat16": replace(
            FACE, devices=1, precision="bfloat16", program=replace(STEP, name="forward", flop=9e12)
        ),
    }
    golden("estimates.txt", "\n\n".join(f"== {name}\n{report}" for name, report in reports.items()) + "\n")


def test_json(golden):
    golden("estimate.json", json.dumps(FACE.as_dict(), indent=2) + "\n")


def test_json_has_the_names_of_measurements_and_no_times():
    measured = measure(load(NET, phase="TRAIN"), iterations=1, warm_up=1).as_dict()
    found = FACE.as_dict()
    assert set(measured) <= set(found) and set(measured["passes"][0]) <= set(found["passes"][0])
    assert set(measured["layers"][0]) == set(found["layers"][0])
    times = ("first_s", "median_s", "fastest_s", "slowest_s", "middle_s", "images_per_s", "flop_per_s")
    assert all(found["passes"][0][name] is None for name in times)


def test_the_bound():
    assert FACE.bound.seconds == pytest.approx(STEP.flop / 197e12)
    assert "197 TFLOP/s (bfloat16)" in FACE.bound.reason
    idle = replace(FACE, program=replace(STEP, flop=1.0))
    assert idle.bound.seconds == pytest.approx((STEP.arguments + STEP.results) / 819e9)
    looked_up = replace(FACE, program=replace(STEP, flop=1.0, traffic=1e6))  # most rows of a table are not read
    assert looked_up.bound.seconds == pytest.approx(1e6 / 819e9)
    half = replace(FACE, target=Target("h100", "8"), precision="bfloat16")
    assert half.bound.seconds == pytest.approx(STEP.flop / 989.4e12)


def test_peaks_have_a_source():
    for name, chip in CHIPS.items():
        assert target_of(chip.example).name == name
        assert chip.source.startswith("https://") and chip.memory > 2**33 and chip.bandwidth > 5e11
        assert chip.peak("float32")[0] <= chip.peak("bfloat16")[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a100:8", "there is no target `a100`. Did you mean `h100`? The targets are v4:2x2x1, v5e:2x2, v5p:2x2x1,"),
        ("", "there is no target ``."),
        ("v5e", "its chips by row must follow the name, as in v5e:2x2"),
        ("v5e:4", "as in v5e:2x2"),
        ("v5e:0x4", "as in v5e:2x2"),
        ("v5e:2x2x2x2", "as in v5e:2x2"),
        ("h100:2x2", "the number of GPUs must follow the name, as in h100:8"),
        ("h100:0", "as in h100:8"),
    ],
)
def test_refused_targets(text: str, message: str):
    with pytest.raises(TargetError, match=f"^--target {text}: ") as error:
        target_of(text)
    assert message in str(error.value)


def test_targets():
    assert target_of("v5p:2x2x4") == Target("v5p", "2x2x4") and target_of("V5E:4x8").devices == 32
    assert str(target_of("h100:8")) == "h100:8" and target_of("h100:8").devices == 8


def test_missing_compilers_are_named(monkeypatch: pytest.MonkeyPatch):
    for module in ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it was not installed
    with pytest.raises(NetdefError, match=r"extra `target`\) requires the package libtpu.*pip install libtpu"):
        require_compiler(target_of("v5e:2x2"))
    packages = f"jax-cuda12-plugin=={jax.__version__} jax-cuda12-pjrt=={jax.__version__}"
    with pytest.raises(NetdefError, match=f"pip install --no-deps {packages}"):
        require_compiler(target_of("h100:8"))


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TPU_WORKER_ID", "7")
    before = dict(os.environ)
    with pytest.raises(KeyError), environment(target_of("v5e:2x2")):
        assert ENVIRONMENT["tpu"].items() <= os.environ.items()
        raise KeyError
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "net, devices, message",
    [
        (NET, 5, "there are only 4 devices of v5e:2x2"),
        (NET, 3, "the batch of 16 cannot be divided among 3 devices of v5e:2x2; .* use --devices 1 or 2 or 4"),
        (NET.replace("dim: 16", "dim: 6"), None, "6 cannot be divided among 4 devices .* --devices 1 or 2 or 3"),
        (
            'layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 16 dim: 3 } } }\n'
            'layer { name: "loss" type: "Reduction" bottom: "w" top: "loss" loss_weight: 1 }',
            2,
            "no inputs to divide among devices",
        ),
    ],
)
def test_refused_numbers_of_devices(net: str, devices: int | None, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimates, "devices_of", lambda target: [None] * 4)
    with pytest.raises(TargetError, match=message):
        estimate(load(net, phase="TRAIN"), target_of("v5e:2x2"), devices)


def test_what_a_compiler_refuses():
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (71.53G) exceeds available HBM (15.75G). HLO module: jit_f.\nSee https://openxla.org for more details."
    )
    assert refused(message) == TOO_LARGE.refusal


def test_the_cost_of_a_layer_that_calls_python_is_not_known(tmp_path: Path):
    (tmp_path / "doubling.py").write_text(
        "class Double:\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
    )
    (tmp_path / "python.net").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 8 dim: 7 } } }\n'
        'layer { name: "p" type: "Python" bottom: "x" top: "p" python_param { module: "doubling" layer: "Double" } }\n'
    )
    net = load(tmp_path / "python.net", trust_python=True)
    for platform in (None, "tpu"):
        cost = layer_costs(net, platform=platform)[1].cost
        assert (cost.forward_flop, cost.forward_bytes) == (0, 0)


@pytest.mark.parametrize(
    "name, net",
    [
        ("step", NET),
        ("step", NET.replace("momentum: 0.9", 'ema: 0.9 type: "optax.polyak_sgd"')),
        ("forward+backward", NET.partition("solver")[0]),
        ("forward", NET.partition('layer { name: "loss"')[0]),
    ],
)
def test_nothing_of_the_size_of_the_weights_is_allocated(name: str, net: str):
    huge = load(net.replace("num_output: 5", "num_output: 16000000"), phase="TRAIN")  # 14 GB of weights
    program = program_of(huge, dividing(huge, jax.devices(), 1, "here"))
    assert program.name == name
    arrays = jax.tree.leaves(program.given)
    assert any(array.size >= 216 * 16 * 10**6 for array in arrays)
    assert all(isinstance(array, jax.ShapeDtypeStruct) for array in arrays)
    jax.eval_shape(program.run, *program.given)


SIMULATED = """
import dataclasses, json, sys
import jax
from netdef import load
from netdef.inspect import estimate, target
chip = dataclasses.replace(target.CHIPS["v5e"], platform="cpu")
target.CHIPS = {"v5e": chip}
estimate.devices_of = lambda _: jax.devices()
net = load(sys.stdin.read(), phase="TRAIN")
print(json.dumps([estimate.estimate(net, target.Target("v5e", "2x2"), n).as_dict() for n in (1, None)]))
"""


@functools.cache
def simulated(net: str) -> list[dict]:
    """Estimates of a net on one and on four simulated CPUs."""
    variables = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONPATH": str(ROOT)}
    command, environ = [sys.executable, "-c", SIMULATED], {**os.environ, **variables}
    done = subprocess.run(command, input=net, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_batch_is_divided_and_the_gradients_are_summed():
    one, four = simulated(NET)
    alone, each = one["passes"][0], four["passes"][0]
    assert (one["devices"], four["devices"]) == (1, 4)
    assert alone["collectives"] == [] and {c["kind"] for c in each["collectives"]} == {"all-reduce"}
    assert sum(c["bytes"] for c in each["collectives"]) >= 4 * PARAMETERS
    images = 16 * (3 * 8 * 8 + 1) * 4
    assert alone["arguments"] - each["arguments"] == images * 3 // 4  # the state is on every device
    assert each["flop"] < alone["flop"] / 2 and each["temporary"] and each["traffic"] and each["fits"]


def measured(net: str, devices: int | str | None) -> tuple[dict, str]:
    """The measurements of a net, as JSON values and as text."""
    found = measure(load(net, phase="TRAIN"), iterations=1, warm_up=1, devices=devices)
    return found.as_dict(), str(found)


def test_devices_at_hand_are_measured_and_exchange_the_same(eight):
    """The collectives of a step are those of the estimate for as many devices; one device has none."""
    four, text = eight(measured, NET, 4)
    step = four["passes"][2]
    assert (four["devices"], step["name"], step["images"]) == (4, "step", 16)
    assert list(step["collectives"]) == simulated(NET)[1]["passes"][0]["collectives"]
    assert "batch 16 (4 on each of 4 devices)" in text and "collectives of the step  count" in text
    one, text = eight(measured, NET, None)
    assert (one["devices"], one["passes"][2]["collectives"]) == (1, ()) and "collectives" not in text
    divided = NET.replace("num_output: 5", "num_output: 4096 shard: true")
    names = {c["kind"] for c in eight(measured, divided, 8)[0]["passes"][2]["collectives"]}
    assert names > {"all-reduce"}


@pytest.mark.parametrize(
    "devices, message", [(3, "16 cannot be divided among 3 devices that JAX finds"), (9, "finds 8 cpu")]
)
def test_devices_at_hand_that_do_not_fit(eight, devices: int, message: str):
    with pytest.raises(NetdefError, match=message):
        eight(measured, NET, devices)


def test_random_data_are_divided_like_records():
    random = NET.replace('"Input"', '"DummyData"').replace("input_param", "dummy_data_param")
    assert simulated(random)[1]["passes"][0]["arguments"] == simulated(NET)[1]["passes"][0]["arguments"]
    assert simulated(random)[1]["devices"] == 4


def test_weights_of_classes_are_divided_as_in_a_run():
    whole, divided, odd = (
        simulated(NET.replace("num_output: 5", f"num_output: {fields}"))[1]["passes"][0]
        for fields in ("4096", "4096 shard: true", "4093 shard: true")  # 4093: with 3 rows that pad it
    )
    state = 2 * 4 * 4096 * (216 + 1)  # weights and momentum
    for program in (divided, odd):
        assert whole["arguments"] - program["arguments"] == state * 3 // 4
        assert whole["results"] - program["results"] == state * 3 // 4
        assert sum(c["bytes"] for c in whole["collectives"]) > state // 2
        assert sum(c["bytes"] for c in program["collectives"]) < state // 200


def test_of_a_program_with_a_loop_the_layers_are_counted():
    one, four = (found["passes"][0] for found in simulated(NET.replace("max_iter", "iter_size: 3 max_iter")))
    layers = sum(x["forward_flop"] + x["backward_flop"] for x in simulated(NET)[0]["layers"])
    assert one["loops"] and one["traffic"] is None and one["images"] == 48
    assert one["flop"] == 3 * layers and four["flop"] == pytest.approx(one["flop"] / 4)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs `netdef time` in its own process, as the variables must be set before jax starts."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = (sys.executable, "-m", "netdef", "time", *map(str, words))
    return subprocess.run(words, capture_output=True, text=True, env=environ)


@pytest.mark.skipif(NO_TPU, reason="the compiler of TPUs is not installed: pip install libtpu")
def test_a_net_compiles_for_a_tpu(tmp_path: Path):
    (tmp_path / "small.net").write_text(NET)
    done = command(tmp_path / "small.net", "--target", "v5e:2x2", "--json")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    step = found["passes"][0]
    assert (step["name"], found["device"], found["devices"]) == ("step", "TPU v5e", 4)
    assert [c["kind"] for c in step["collectives"]] == ["all-reduce"] and step["fits"]
    assert min(step["flop"], step["traffic"], step["arguments"], step["temporary"], step["bound_s"]) > 0
    done = command(tmp_path / "small.net", "--target", "v5e:3x3")
    assert done.returncode == 2 and "--target v5e:3x3: the compiler refuses it" in done.stderr


@pytest.mark.skipif(NO_TPU, reason="the compiler of TPUs is not installed: pip install libtpu")
def test_a_net_that_does_not_fit_a_tpu(tmp_path: Path):
    (tmp_path / "large.net").write_text(NET.replace("num_output: 5", "num_output: 16000000 shard: false"))
    done = command(tmp_path / "large.net", "--target", "v5e:2x2")
    assert done.returncode == 0 and "\ndoes not fit: " in done.stdout, done.stderr


@pytest.mark.skipif(
    NO_CUDA, reason="the compiler of GPUs is not installed: pip install jax-cuda12-plugin jax-cuda12-pjrt"
)
def test_a_net_compiles_for_a_gpu(tmp_path: Path):
    (tmp_path / "small.net").write_text(NET)
    done = command(tmp_path / "small.net", "--target", "h100:8", "--json")
    assert done.returncode == 0, done.stderr
    step = json.loads(done.stdout)["passes"][0]
    assert step["traffic"] is None and step["temporary"] > 0 and step["flop"] > 0
    assert [c["kind"] for c in step["collectives"]] == ["all-reduce"]
