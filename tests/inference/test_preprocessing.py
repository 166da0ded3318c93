"""The preprocessing of training is stored beside the weights, and is repeated without the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from box_sets import rows_of, write_coco
from data_sets import write_images

import netdef
from netdef.cli import main
from netdef.data import images
from netdef.data.feed import Feed
from netdef.inference.preprocessing import NAME, beside, load, preprocessing_of
from netdef.interop.caffe_proto import messages
from netdef.interop.means import mean_image, write_mean
from netdef.language.errors import printable

NET = """
name: "Shades"
layer { name: "d" type: "ImageFolder" top: "data" top: "label" transform_param { mean_file: "AUTO" crop_size: 5 }
        sample_param { split: 0.5 } image_folder_param { source: "things" batch_size: 5 new_height: 6 new_width: 6 is_color: false } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
solver { base_lr: 0.05 lr_policy: "fixed" max_iter: 10 test_interval: 10 test_iter: 1 test_initialization: false }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder of dark and light images, a deployed net and exported weights, after the data was moved."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETDEF_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        rng = np.random.default_rng(0)
        for name, level in (("dark", 60), ("light", 190)):
            write_images(folder / "things" / name, rng.normal(level, 20, (8, 1, 9, 8)).clip(0, 255).astype(np.uint8))
        (folder / "shades.net").write_text(NET)
        netdef.train("shades.net", output="run")
        assert main(["deploy", "shades.net", "-o", "deploy.prototxt"]) == 0
        assert main(["convert", "run", "-o", "out/shades.safetensors"]) == 0
        wanted = netdef.predict("shades.net", "things", weights="run")
        np.save("wanted.npy", [p.scores for p in wanted])
        (folder / "things").rename(folder / "photos")
        for kept in Path("cache").glob("mean-*"):
            kept.unlink()
        yield folder


def test_a_run_and_its_exported_weights_need_no_data(trained, capsys):
    assert (trained / "run" / NAME).is_file() and (trained / "out" / f"shades.{NAME}").is_file()
    wanted = np.load("wanted.npy")
    for weights in ("run", "out/shades.safetensors"):
        found = netdef.predict("deploy.prototxt", ["photos"], weights=weights)
        np.testing.assert_allclose([p.scores for p in found], wanted, rtol=1e-4)
        assert [p.best(1)[0][0] for p in found] == ["dark"] * 8 + ["light"] * 8
        assert [Path(p.input).parts[-2] for p in found] == ["dark"] * 8 + ["light"] * 8
    words = ["predict", "deploy.prototxt", "photos/light/00.png", "--weights", "out/shades.safetensors", "--top", "1"]
    assert main(words) == 0
    done = capsys.readouterr()
    assert done.out.split()[:2] == ["photos/light/00.png", "light"] and done.err == ""


def test_without_the_file_a_note_says_so(trained, tmp_path, capsys):
    shutil.copy("out/shades.safetensors", tmp_path / "bare.safetensors")
    words = ["predict", "deploy.prototxt", "photos/light/00.png", "--weights", str(tmp_path / "bare.safetensors")]
    assert main(words) == 0
    assert "no preprocessing.json was found" in capsys.readouterr().err
    assert main([*words, "--preprocessing", f"run/{NAME}"]) == 0
    done = capsys.readouterr()
    assert done.err == "" and done.out.split()[1] == "light"


def test_rows_and_models(trained):
    rows = np.random.default_rng(1).normal(size=(7, 1, 5, 5))
    by_path = netdef.predict("deploy.prototxt", rows, weights="out/shades.safetensors", names=["a", "b"])
    model = netdef.compile("deploy.prototxt", weights="out/shades.safetensors")
    by_model = netdef.predict(model, rows)
    assert len(by_path) == 7
    np.testing.assert_allclose([p.scores for p in by_path], [p.scores for p in by_model], rtol=1e-5)
    assert {name for name, _ in by_path[0].best()} == {"a", "b"} and by_model[0].best(1)[0][0].startswith("class ")
    with pytest.raises(netdef.NetdefError, match="the weights are missing"):
        netdef.predict("deploy.prototxt", rows)
    with pytest.raises(netdef.NetdefError, match="the net expects"):
        netdef.predict(model, rows[:, :, :4])


CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TRANSFORMS = [
    "scale: 0.5 mean_value: 1 mean_value: 20 mean_value: 300",
    "crop_size: 5 mean_file: 'mean.binaryproto' scale: 0.1",
    "crop_size: 4 mirror: true mean_file: 'AUTO' squash: 2",
    "mean_value: 100",
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_loaded_file_repeats_the_data_layer(transform, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    write_images(tmp_path / "i", rng.integers(0, 256, (3, 3, 7, 6), np.uint8))
    write_mean(tmp_path / "mean.binaryproto", rng.random((3, 7, 6), np.float32) * 255)
    files = sorted((tmp_path / "i").iterdir())
    Path("list.txt").write_text("".join(f"i/{f.name} 0\n" for f in files))
    net = netdef.load(
        f"""layer {{ name: "d" type: "ImageData" top: "data" top: "label" transform_param {{ {transform} }}
            image_data_param {{ source: "list.txt" batch_size: 3 }} }}""",
        phase="TEST",
    )
    made = preprocessing_of(net)
    assert made is not None
    made.save(tmp_path / "p" / NAME)
    with Feed(net) as feed:
        wanted = next(feed)["data"]
    for name in ("list.txt", "mean.binaryproto"):
        Path(name).unlink()
    for kept in tmp_path.glob("cache/mean-*"):
        kept.unlink()
    again = load(tmp_path / "p" / NAME)
    decoded = [images.decode(f.read_bytes(), again.color) for f in files]
    rows = again.rows(decoded, files)
    if "mirror" in transform:  # random in the data layer, never here
        wanted = [w if np.allclose(r, w, **CLOSE) else w[:, :, ::-1] for r, w in zip(rows, wanted, strict=True)]
    np.testing.assert_allclose(rows, wanted, **CLOSE)
    assert again.words.startswith("transform_param { ") and "mirror" not in again.words


@pytest.mark.parametrize(
    ("dims", "words"),
    [((24,), "not 24$"), ((4, 6), "not 4x6$"), ((2, 3, 2, 2), "not 2x3x2x2$")]
    + [(dims, "but 24 values") for dims in ((-2, -2, 6), (1, 0, 5), (2, 2), (1 << 32, 1 << 32, 24), (2, 2, 5))],
)
def test_mean_images_whose_shape_is_none(tmp_path, dims, words):
    blob = messages().BlobProto(data=range(24))
    blob.shape.dim.extend(dims)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    with pytest.raises(netdef.NetdefError, match=words):
        mean_image(path)


def test_records_of_a_database_give_the_size(monkeypatch):
    """Images are resized to the size of the records, then cropped."""
    golden = Path(__file__).parents[2].parent / "shared" / "golden" / "data"
    if not (golden / "lmdb_color").exists():
        pytest.skip("the recorded databases are not beside the checkout")
    monkeypatch.chdir(golden)
    net = netdef.load(
        """layer { name: "d" type: "Data" top: "data" transform_param { crop_size: 8 }
           data_param { source: "lmdb_color" batch_size: 2 backend: LMDB } }""",
        phase="TEST",
    )
    made = preprocessing_of(net)
    assert made is not None and made.record is not None and min(made.record) > 8
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    top, left = ((side - 8) // 2 for side in made.record)
    wanted = images.resize(photo, *made.record)[top : top + 8, left : left + 8].transpose(2, 0, 1)
    assert np.array_equal(made.rows([photo], ["photo"])[0], wanted.astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("not json", "not a preprocessing file of netdef"),
        (lambda d: d.pop("layer"), "'layer' is missing"),
        (lambda d: d.update(layer="layer {"), "not a preprocessing file"),
        (
            lambda d: d.update(layer='layer { name: "r" type: "ReLU" bottom: "a" top: "b" }'),
            "one layer that reads images",
        ),
        (lambda d: d.update(shape=[1, 2]), "its shape is [1, 2]"),
        (lambda d: d.update(mean=[1.0, 2.0], deviation=[1.0, 1.0]), "its mean and deviation do not have 1 channels"),
        (
            lambda d: d.update(mean_image={"shape": [1, 99999, 99999], "float32": "AAAA"}),
            "1x99999x99999, but has 0 values",
        ),
        (lambda d: d.update(mean_image={"shape": [1, 1, 1], "float32": "!"}), "not a preprocessing file"),
    ],
)
def test_invalid_files(change, message, trained, tmp_path):
    given = json.loads((trained / "run" / NAME).read_text())
    path = tmp_path / NAME
    if callable(change):
        change(given)
    path.write_text(change if isinstance(change, str) else json.dumps(given))
    with pytest.raises(netdef.NetdefError) as caught:
        load(path)
    assert (
        message in str(caught.value)
        and str(caught.value).startswith(printable(str(path)))
        and "\n" not in str(caught.value)
    )


def test_a_file_of_another_net_is_refused(trained, capsys):
    other = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }\n'
    Path("other.net").write_text(
        other + 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }'
    )
    netdef.compile("other.net").save_weights("other.npz")
    shutil.copy(f"run/{NAME}", f"other.{NAME}")
    assert main(["predict", "other.net", "photos/dark/00.png", "--weights", "other.npz"]) == 1
    assert "images are preprocessed to 1x5x5, but the net's input `x` expects 3x5x5" in capsys.readouterr().err


def test_where_the_file_is_found(tmp_path):
    assert beside(tmp_path / "w.caffemodel.h5") is None
    (tmp_path / NAME).write_text("{}")
    assert beside(tmp_path / "w.caffemodel.h5") == beside(tmp_path / "iter_000005") == tmp_path / NAME
    (tmp_path / f"w.{NAME}").write_text("{}")
    assert beside(tmp_path / "w.caffemodel.h5") == beside(tmp_path / "w.npz") == tmp_path / f"w.{NAME}"


FIT = "resize_mode: FIT_SMALL_SIZE"


@pytest.mark.parametrize(
    "transform",
    [
        "crop_size: 16",
        "resize_param { height: 30 width: 30 }",
        "resize_param { height: 30 width: 30 resize_mode: FIT_LARGE_SIZE_AND_PAD }",
        "resize_param { height: 40 width: 24 resize_mode: FIT_LARGE_SIZE_AND_PAD } crop_size: 22",
        f"resize_param {{ height: 24 width: 24 {FIT} }} crop_size: 24",
        f"resize_param {{ height: 24 width: 24 {FIT} height_scale: 50 width_scale: 40 }} crop_size: 24",
    ],
)
def test_boxes_of_the_input_are_found_in_the_picture(transform, tmp_path):
    """True boxes of a data layer, in fractions of its images, are where they are in the files."""
    write_coco(tmp_path)
    layer = f'type: "BoxFolder" top: "data" top: "label" transform_param {{ {transform} }}'
    block = f'box_folder_param {{ source: "{printable(str(tmp_path))}/labels.json" batch_size: 1 }}'
    net = netdef.load(f'layer {{ name: "d" {layer} {block} }}', phase="TEST")
    way = preprocessing_of(net)
    with Feed(net) as feed:
        batch = next(feed)
    true, compared = {tuple(row[1:3]): np.array(row[3:7]) * [40, 20, 40, 20] for row in rows_of(0, 0)}, 0
    most = np.array([24 / 40, 24 / 50] * 2) if "scale" in transform else 1.0
    for row in (row for row in batch["label"][0, 0] if row[0] >= 0):
        inside = (row[3:7] > 0) & (row[3:7] < most - 1e-4)  # the crop cuts off the others
        found = np.array(way.placing((20, 40))(row[3:7]))
        np.testing.assert_allclose(found[inside], true[tuple(row[1:3])][inside], atol=1e-4)
        compared += inside.sum()
    assert compared >= 2
    image = tmp_path / "00.png"
    rows = way.rows([images.decode(image.read_bytes(), True)], [image])
    np.testing.assert_array_equal(rows[0], batch["data"][0])
