"""What a reader of the manual has and the tests do not: small stand-ins for data, nets and runs, and rules for blocks
that are not run as they are.

`STAND_INS` maps a page to a function that writes stand-ins into the working directory, before the blocks of the page are
run. `RULES` maps a page and the beginning of a block to the check of that block.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import lmdb
import numpy as np
import small_detector
from box_sets import coco, pictures, write_voc
from data_sets import datum, write_images, write_lmdb
from markdown_blocks import ROOT, Block, Reader, Rule, blocks, commands, run

import netdef
from netdef.cli import main, parser_of

DOCS = ROOT / "netdef" / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def block_of(name: str, begin: str) -> Block:
    """Returns the one block of a page that begins with these words."""
    (found,) = [block for block in blocks(page(name)) if block.text.startswith(begin)]
    return found


# Stand-ins


def images(folder: Path, kinds: int = 3, each: int = 4, size: tuple[int, int] = (24, 24)) -> None:
    """Writes images of noise, whose brightness depends on their class, into a subfolder for each class."""
    random = np.random.default_rng(0)
    for kind in range(kinds):
        noise = random.integers(60 * kind, 60 * kind + 60, (each, 3, *size), np.uint8)
        write_images(folder / f"kind{kind}", noise)


def for_starter() -> None:
    images(Path("photos"))
    digits = np.random.default_rng(0).integers(0, 256, (30, 12, 12), np.uint8)
    np.savez("digits.npz", x_train=digits[:20], y_train=np.arange(20) % 10, x_test=digits[20:], y_test=np.arange(10))
    write_voc(Path("VOC2007"))
    lines = Path("examples/data/houses.csv").read_text().splitlines()
    Path("houses.csv").write_text("\n".join(lines[:60]) + "\n")


def for_faces() -> None:
    images(Path("FOLDER"), each=4, size=(80, 60))
    for name in ("face", "face_bn"):
        smaller(f"examples/{name}.net", ("batch_size: 40", "batch_size: 2"))


def for_large_data() -> None:
    images(Path("photos"), each=2)


def smaller(path: str, *changes: tuple[str, str]) -> None:
    """Makes a net of the examples smaller, where it is used under its own name."""
    text = Path(path).read_text()
    for old, new in changes:
        text = re.sub(old, new, text)
    Path(path).write_text(text)


TUNED = """
let width: 16
import "std/classifier.net"
layer {{ name: "digits" type: "HDF5Data" top: "data" top: "label"
         hdf5_data_param {{ source: "examples/data/digits_train.txt" batch_size: 64 }} }}
mlp {{ name: "digit" bottom: "data" sizes: [{}, 10] }}
softmax_loss {{ bottom: "digit" top_k: [1] }}
solver {{ base_lr: 0.1 lr_policy: "fixed" max_iter: 2 display: 1 test_interval: 1 }}
"""


def for_recipes() -> None:
    """In place of 152 layers, two."""
    Path("examples/resnet152.net").write_text('name: "ResNet-2"' + TUNED.format(16))


def for_search() -> None:
    Path("model.net").write_text('name: "model"' + TUNED.format("${width}"))


def for_devices() -> None:
    Path("model.net").write_text('name: "model"' + TUNED.format(16))
    faces = np.random.default_rng(0).integers(0, 256, (4, 3, 112, 112), np.uint8)
    for name in ("train", "test"):
        write_lmdb(Path(f"faces_{name}_lmdb"), [datum(face, i) for i, face in enumerate(faces)])


def for_view() -> None:
    netdef.train("examples/digits.net", max_iter=3, output="runs/Digits", progress=False)


def few_canvases() -> None:
    """Of the canvases with digits, the first ones."""
    smaller("examples/digits_ssd.net", ("batch_size: (32|50)", "batch_size: 4"))
    for path in sorted(Path("examples/data").glob("canvases_*.lmdb")):
        with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
            records = [value for _, (_, value) in zip(range(4), txn.cursor(), strict=False)]
        shutil.rmtree(path)
        write_lmdb(path, records)


def for_detection() -> None:
    few_canvases()
    write_voc(Path("VOC2007"))
    sets = Path("VOC2007/ImageSets/Main")
    sets.mkdir(parents=True)
    (sets / "trainval.txt").write_text("00\n01\n")
    (sets / "test.txt").write_text("02\n03\n")
    write_images(Path("val2017"), pictures())
    Path("instances_val2017.json").write_text(json.dumps(coco()))
    names = ("background", "square", "other")
    items = [f'item {{ name: "{name}" label: {i} display_name: "{name}" }}' for i, name in enumerate(names)]
    Path("labelmap.prototxt").write_text("\n".join(items))
    write_images(Path(), np.full((1, 3, 40, 60), 200, np.uint8))
    os.rename("00.png", "street.jpg")
    small_detector.write_data(Path())
    Path("ssd.net").write_text(small_detector.trained_by())
    netdef.train("ssd.net", max_iter=1, output="runs/Squares", progress=False, set={"solver.test_interval": 0})
    Path("train.prototxt").write_text(small_detector.trained_by().partition("solver {")[0])
    deployed = small_detector.DEPLOYED.replace("dim: [1, 1, 24, 24]", "dim: [1, 3, 300, 300]")
    netdef.compile(deployed).save_weights("ssd.caffemodel")


STAND_INS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "starter": for_starter,
        "faces": for_faces,
        "large-data": for_large_data,
        "recipes": for_recipes,
        "search": for_search,
        "devices": for_devices,
        "view": for_view,
        "detection": for_detection,
    }
)


# Rules


def the_error_of_a_misspelled_field(reader: Reader, block: Block) -> None:
    Path("wrong").mkdir()
    net = Path("small.net").read_text()
    Path("wrong/small.net").write_text(net.replace("num_output: 50", "num_outputs: 50"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert main(["check", "wrong/small.net"]) == 2
    assert block.text.replace("small.net:", "wrong/small.net:") in out.getvalue()


def the_whole_training(reader: Reader, block: Block) -> None:
    """The first net is so small that it is trained as the page says."""
    (command,) = commands(block.text)
    whole = Reader(300)
    whole.console(block._replace(text=block.text.replace(command.text, f"{command.text} --max-iter 300")))
    reader.printed += whole.printed


def shown_at_the_start_on_two_devices(reader: Reader, block: Block) -> None:
    Path("both.py").write_text(
        "from netdef.cli import main\n"
        "for devices in (['--devices', 'all'], ['--gpu', '0,1']):\n"
        "    assert main(['train', 'model.net', *devices]) == 0\n"
    )
    with mock.patch.dict(os.environ, {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}):
        told = run("python both.py", Path()).stdout.splitlines()
    assert [line for line in block.text.splitlines() if line in told] == block.text.splitlines(), told


def processes_of_one_run(reader: Reader, block: Block) -> None:
    """These are the processes that `netdef launch` starts, which the page does run, at another address."""
    with_recorder = Path("recorder")
    with_recorder.write_text('#!/bin/sh\nshift 2\necho netdef "$@" >> started\n')
    with_recorder.chmod(0o755)
    with mock.patch.object(sys, "executable", str(with_recorder.absolute())):
        assert main(["launch", "-n", "2", "--", "train", "model.net"]) == 0
    started = sorted(Path("started").read_text().splitlines())
    assert started == [re.sub(r"gpu1:7000", started[0].split()[4], c.text) for c in commands(block.text)]


def launched(reader: Reader, block: Block) -> None:
    (command,) = commands(block.text)
    shutil.copyfile("model.net", command.text.split()[-1])  # a small one
    told = run(f"{command.text} --max-iter 2 --output runs/processes", Path()).stdout
    assert "batch 64 divided among 2 devices: 32 on each" in told
    assert "done: 2 iterations" in told


def read_but_not_computed(reader: Reader, block: Block) -> None:
    """Trainings of nets that are too large for a test: the options exist, and the net reads its first batch."""
    for command in commands(block.text):
        name, *words = shlex.split(command.text)[1:]
        args = parser_of(name)[1].parse_intermixed_args(words)
        assert name == "train" and Path(args.file).is_file()
        given = dict(setting.split("=", 1) for setting in args.set)
        settings = {**given, **FEW.get(args.file, {})}
        net = netdef.load(args.file, phase="TRAIN", set=settings)
        assert {d.code for d in net.diagnostics} <= {"test-size"}  # the stand-ins have few records
        batch = next(netdef.data.batches(args.file, phase="TRAIN", set=settings))
        assert batch["data"].shape == net.blobs["data"].shape


FEW = {"examples/face_million.net": {"batch": 2}}  # images of a batch


def a_model_of_keras(reader: Reader, block: Block) -> None:
    """The program in Keras, with stand-ins for its classes, builds what the net beside it describes."""
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    class Recorder:
        def __init__(self, name: str):
            self.name = name

        def __getattr__(self, name: str) -> Recorder:
            return Recorder(name)

        def __call__(self, *args: Any, **kwargs: Any) -> Recorder:
            calls[self.name] = args, kwargs
            return Recorder(self.name)

    names = ("keras", "layers", "x", "y", "xt", "yt")
    exec(compile(block.text, "keras", "exec"), {name: Recorder(name) for name in names})
    net = netdef.load(next(b.text for b in blocks(page("keras")) if b.title == "model.net"), phase="TRAIN")
    height, width, channels = calls["Input"][0][0]
    assert net.blobs["data"].shape == (calls["fit"][1]["batch_size"], channels, height, width)
    outputs, side = calls["Conv2D"][0]
    assert net.params["conv"][0] == (outputs, channels, side, side)
    assert net.blobs["conv"].shape[2:] == (height, width) and calls["Conv2D"][1]["padding"] == "same"
    assert net.blobs["pool"].shape[2:] == (height // 2, width // 2)
    assert net.blobs["score"].shape[1:] == calls["Dense"][0]
    assert calls["Dropout"][0] == (next(node.layer.dropout_ratio for node in net.layers if node.type == "Dropout"),)
    assert calls["Adam"][0] == (net.solver.base_lr,) and type(net.solver).__name__ == "Adam"
    assert net.solver.max_iter == calls["fit"][1]["epochs"] * -(-1397 // 64)


def the_lines_of_grammar_editors(reader: Reader, block: Block) -> None:
    assert block.text in (ROOT / "grammar" / "editors" / "README.md").read_text()


def the_hooks_that_are_offered(reader: Reader, block: Block) -> None:
    offered = re.findall(r"^- id: (\S+)$", (ROOT / ".pre-commit-hooks.yaml").read_text(), re.M)
    assert re.findall(r"id: ([\w-]+)", block.text) == offered


RULES: Mapping[str, Mapping[str, Rule]] = MappingProxyType(
    {
        "first-net": {
            "small.net:15": the_error_of_a_misspelled_field,
            "$ netdef train small.net": the_whole_training,
        },
        "devices": {
            "batch 64 divided": shown_at_the_start_on_two_devices,
            "$ netdef train model.net --hosts": processes_of_one_run,
            "$ netdef launch": launched,
            "$ netdef train examples/face_million.net": read_but_not_computed,
        },
        "detection": {"$ netdef train examples/mobilenet_ssd.net": read_but_not_computed},
        "keras": {"model = keras.": a_model_of_keras},
        "editors": {"vim.": the_lines_of_grammar_editors, "repos:": the_hooks_that_are_offered},
    }
)
