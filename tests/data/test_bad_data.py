"""Errors in data are one line that names the file, the record and the remedy."""

from __future__ import annotations

import builtins
import re

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef.interop.caffe_proto import messages
from netdef.language.errors import printable

LIST = layer("ImageData", 'image_data_param { source: "list.txt" batch_size: 2 }')
HDF5 = layer("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 2 }')
FOLDER = layer("ImageFolder", 'image_folder_param { source: "faces" batch_size: 2 }')
CROP = "transform_param { crop_size: 4 }"
TABLE = layer("ImageTable", 'image_table_param { source: "t.csv" batch_size: 2 }', "data age")
ARRAY = layer("ArrayData", 'array_data_param { source: "x.npz" batch_size: 2 }')


@pytest.fixture
def fails(feed):
    """fails(text, words): opening or reading raises an error of one line that contains these words."""

    def check(text: str, words: str, phase: str = "TRAIN") -> str:
        with pytest.raises(netdef.NetdefError) as caught:
            next(feed(text, phase))
        line = str(caught.value)
        assert "\n" not in line and re.search(words, line), line
        return line

    return check


def db(beside="", batch=2):
    return layer("Data", f'data_param {{ source: "db" batch_size: {batch} backend: LMDB }}', beside=beside)


@pytest.mark.parametrize("text", [db(), LIST, HDF5, FOLDER, TABLE, ARRAY])
def test_a_missing_source(text, fails, tmp_path):
    folder = re.escape(printable(str(tmp_path)))
    fails(text, rf"layer `\w`: .*{folder}/[\w.]+ does not exist; paths are relative to")
    net = netdef.load(text)
    assert [d.code for d in net.diagnostics] == ["unavailable"]
    fails(re.sub(r'source: "[^"]+"', "", text), "`source` is not given")


def test_no_batch_size(tmp_path, fails):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0)])
    fails(db(batch=0), "`batch_size` is 0; it must be at least 1")


def test_an_empty_list(tmp_path, fails):
    (tmp_path / "list.txt").write_text("\n \n")
    fails(LIST, r"list\.txt is empty; write `path label`")
    fails(HDF5, r"list\.txt lists no files")


def test_a_line_without_a_label(tmp_path, fails):
    (tmp_path / "list.txt").write_text("a.png 1\nb.png\n")
    fails(LIST, r"list\.txt:2: expected `path label`, with an integer as the label, not `b\.png`")
    (tmp_path / "list.txt").write_text("a.png 1\nb.png cat\n")
    fails(LIST, r"list\.txt:2: .*not `b\.png cat`")


def test_a_listed_image_that_does_not_exist(tmp_path, fails):
    (tmp_path / "list.txt").write_text("nowhere.png 1\n")
    fails(LIST, r"the image .*nowhere\.png cannot be read \(No such file.*`root_folder`")


def test_images_of_two_sizes(tmp_path, fails):
    write_images(tmp_path, numbered(1, 3, 4, 5))
    write_images(tmp_path / "other", numbered(1, 3, 6, 5))
    (tmp_path / "list.txt").write_text("00.png 1\nother/00.png 1\n")
    fails(LIST, r"other/00\.png is 3x6x5, but .*00\.png of the same batch is 3x4x5; resize them .* `crop_size`")


def test_a_truncated_lmdb(tmp_path, fails):
    write_lmdb(tmp_path / "db", [datum(numbered(1, 3, 40, 40)[0], i) for i in range(30)])
    file = tmp_path / "db" / "data.mdb"
    file.write_bytes(file.read_bytes()[:40_000])
    fails(db(), r"db/data\.mdb is truncated: it has 40000 of at least \d+ bytes; copy it again")
    file.write_bytes(b"no database at all" * 1000)
    fails(db(), r"db is not a readable LMDB database")


def test_an_empty_database_and_none_at_all(tmp_path, fails):
    write_lmdb(tmp_path / "db", [])
    fails(db(), r"the database .*/db is empty")
    (tmp_path / "db" / "data.mdb").unlink()
    (tmp_path / "db" / "lock.mdb").unlink()
    fails(db(), r"/db is not a database: it contains neither data\.mdb \(LMDB\) nor CURRENT \(LevelDB\)")


def test_records_that_are_no_datum(tmp_path, fails):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0), b"\xff\xff\xff"])
    fails(db(), r"record b'00000001' of .*/db is not a Datum.*`netdef data convert`")


def test_records_with_too_few_values(tmp_path, fails):
    short = messages().Datum(channels=3, height=4, width=5, data=b"abc").SerializeToString()
    write_lmdb(tmp_path / "db", [short])
    fails(db(), r"record b'00000000' of .*/db has 3 values, which does not match its shape 3x4x5")


def test_encoded_records_that_do_not_decode(tmp_path, fails):
    broken = messages().Datum(data=b"no image", encoded=True).SerializeToString()
    write_lmdb(tmp_path / "db", [broken])
    fails(db(), r"record b'00000000' of .*/db contains an image that cannot be decoded \(unknown image format\)")


def test_wrong_number_of_channels(tmp_path, fails, monkeypatch):
    write_lmdb(tmp_path / "db", [datum(numbered(1, 1)[0], 0)])
    beside = "transform_param { mean_value: 1 mean_value: 2 mean_value: 3 }"
    fails(db(beside), r"record b'00000000' .*`mean_value` has 3 values, but the image has 1 channels; give one")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netdef.CompileError, match="`mean_value` has 3 values, but the image has"):
        netdef.load(db(beside))


def test_more_tops_than_a_record_fills(tmp_path, fails, monkeypatch):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0)])
    text = db(batch=1).replace('top: "label"', 'top: "label" top: "more"')
    fails(text, "it has 3 tops, but its records have one image and 1 labels; name at most 2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netdef.CompileError, match="it has 3 tops, but its records have one image and 1 labels"):
        netdef.load(text)


def test_a_cut_larger_than_the_image(tmp_path, fails, monkeypatch):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0)])
    fails(db("transform_param { crop_size: 9 }"), r"the crop of 9x9 is larger than the image of 4x5.*at most 4")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netdef.CompileError, match="the crop of 9x9") as caught:
        netdef.load(db("transform_param { crop_size: 9 }"))
    assert caught.value.diagnostics[0].code == "shape-mismatch"


def test_mean_files(tmp_path, fails):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0)])
    fails(
        db('transform_param { mean_file: "m" }'), r"the mean file .*/m does not exist; `netdef data mean` creates one"
    )
    (tmp_path / "m").write_bytes(b"\xff" * 9)
    fails(db('transform_param { mean_file: "m" }'), r"/m: not a .binaryproto \(a BlobProto\)")
    (tmp_path / "m").write_bytes(
        messages().BlobProto(data=[1, 2, 3], num=1, channels=3, height=1, width=1).SerializeToString()
    )
    fails(
        db('transform_param { mean_file: "m" }'), r"is 1x4x5, but the mean in m is 3x1x1; they must have the same shape"
    )
    both = 'transform_param { mean_file: "m" mean_value: 1 }'
    fails(db(both), "`mean_file` and `mean_value` are both given")


def test_labels_out_of_range(tmp_path, fails):
    write_lmdb(tmp_path / "db", [datum(image, 7) for image in numbered(2)])
    fails(db("augment_param { num_labels: 5 }"), r"layer `d`: `num_labels` is 5, but a batch has labels from 7 to 7")


LOSS = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" MORE }
"""


def test_labels_that_the_loss_has_no_class_for(tmp_path, fails, feed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_lmdb(tmp_path / "db", [datum(image, label) for image, label in zip(numbered(3), (0, 2, 3), strict=True)])
    words = r"layer `d`: record b'00000002' of .*/db has the label 3, but layer `loss` has 3 classes, 0 to 2"
    fails(db(batch=3) + LOSS.replace("MORE", ""), words)
    allowed = feed(db(batch=3) + LOSS.replace("MORE", "loss_param { ignore_label: 3 }"))
    assert next(allowed)["label"].tolist() == [0, 2, 3]
    fails(db(batch=3) + LOSS.replace("MORE", "").replace("num_output: 3", "num_output: 1"), "`loss` has one class, 0;")
    np.savez(tmp_path / "x.npz", data=numbered(2), label=np.array([-1, 0]))
    fails(ARRAY + LOSS.replace("MORE", ""), r"layer `a`: row 0 of .*/x\.npz has the label -1")


def test_hdf5(tmp_path, fails):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"], file["labels"] = np.zeros((3, 2)), np.zeros(3)
    (tmp_path / "list.txt").write_text("x.h5\n")
    fails(HDF5, r"layer `h`: .*/x\.h5 has no dataset `label`; .*the file has `data`, `labels`")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["label"] = np.zeros(2)
    fails(HDF5, r"all datasets must have the same number of rows.*`data` 3, `label` 2")
    (tmp_path / "x.h5").write_bytes(b"nothing of the kind")
    fails(HDF5, r"/x\.h5 is not a readable HDF5 file")
    (tmp_path / "list.txt").write_text("y.h5\n")
    fails(HDF5, r"list\.txt:1: .*/y\.h5 does not exist")
    with h5py.File(tmp_path / "list.txt", "w") as file:
        file["data"] = np.zeros(3)
    fails(HDF5, r"list\.txt is itself an HDF5 file; `source` must be a text file")


def test_folders(tmp_path, fails):
    (tmp_path / "faces").mkdir()
    fails(FOLDER, r"faces has no subfolders; put the images of each class into a subfolder of its name")
    (tmp_path / "faces" / "anna").mkdir()
    fails(FOLDER, r"the class folder .*/anna contains no images")
    write_images(tmp_path / "faces" / "anna", numbered(2, 3))
    split = FOLDER.replace("image_folder_param", "sample_param { split: 1 } image_folder_param")
    fails(split, r"`split` is 1, which leaves none of the 2 records for phase TEST", phase="TEST")


def test_tables(tmp_path, fails):
    write_images(tmp_path, numbered(2, 3))
    for text, words in (
        ("file,age\n", r"t\.csv is empty"),
        ("file,height\n00.png,1\n", r"t\.csv has no column `age`; it has file, height"),
        ("file,age\n00.png,1\n01.png\n", r"t\.csv:3: 1 columns, but the header has 2"),
        ("file,age\n00.png,1\n01.png,\n", r"t\.csv:3: no value in column `age`"),
    ):
        (tmp_path / "t.csv").write_text(text)
        fails(TABLE, words)


def test_an_error_of_a_listed_file_names_its_line(tmp_path, fails):
    write_images(tmp_path, numbered(1, 3))
    (tmp_path / "broken.png").write_text("x")
    for name, words in (("gone.png", "cannot be read"), ("broken.png", "cannot be decoded")):
        (tmp_path / "list.txt").write_text(f"\n{name} 1\n")
        fails(LIST, rf"layer `i`: .*list\.txt:2: .*{name} {words}")
        (tmp_path / "t.csv").write_text(f"file,age\n\n{name},1\n")
        fails(TABLE, rf"t\.csv:3: .*{name} {words}")
        (tmp_path / "w.txt").write_text("# 0\nNAME\n3 9 9\n2\n1 0.9 0 0 3 3\n1 0.1 0 0 3 3\n".replace("NAME", name))
        window = layer("WindowData", 'window_data_param { source: "w.txt" batch_size: 4 }', beside=CROP)
        fails(window, rf"w\.txt:2: the image .*{name} cannot be read")
    (tmp_path / "list.txt").write_text("\nx.h5\n")
    (tmp_path / "x.h5").write_text("x")
    fails(HDF5, r"layer `h`: .*list\.txt:2: .*x\.h5 is not a readable HDF5 file")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.zeros((3, 2))
    fails(HDF5, r"list\.txt:2: .*x\.h5 has no dataset `label`")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"], file["label"] = np.zeros((3, 2)), np.zeros(2)
    fails(HDF5, r"list\.txt:2: .*x\.h5: all datasets must have the same number of rows")


def test_arrays(tmp_path, fails):
    np.savez(tmp_path / "x.npz", data=numbered(3), labels=np.zeros(3))
    fails(ARRAY, r"x\.npz has no array `label`; it has data, labels\.  Select one with `array`")
    np.savez(tmp_path / "x.npz", data=numbered(3), label=np.zeros(2))
    fails(ARRAY, r"all arrays must have the same number of rows")
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    fails(ARRAY, r"x\.npz is not a readable NumPy file")


def test_windows(tmp_path, fails):
    text = layer("WindowData", 'window_data_param { source: "w.txt" batch_size: 4 }', beside=CROP)
    for content, words in (
        ("# 0\na.png\n3 9 9\n2\n1 0.9 0 0 3 3\n", r":5: after image `a\.png`: unexpected end of file"),
        ("# 0\na.png\n3 9 9\n1\n0 0.9 0 0 3 3\n", "an object has label 0, but labels of objects start at 1"),
        ("a.png\n", "expected `#` at the start of an image, not `a.png`"),
        ("# 0\na.png\n3 9 9\n1\n1 0.9 0 0 3 3\n", "has no background windows, but each batch needs 3"),
    ):
        (tmp_path / "w.txt").write_text(content)
        fails(text, words)


@pytest.mark.parametrize(
    ("module", "package", "text"),
    [("plyvel", "plyvel", db()), ("PIL.Image", "pillow", LIST)],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, fails, module, package, text):
    write_images(tmp_path, numbered(1, 3))
    (tmp_path / "list.txt").write_text("00.png 1\n")
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").write_bytes(b"")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    import importlib

    monkeypatch.setattr(importlib, "import_module", lambda name, *a: without(name))
    fails(text, rf"requires the package {package}, which is not installed; run `pip install {package}`")


@pytest.mark.parametrize("kind", ["VideoData", "DenseImageData"])
def test_layers_that_are_not_read_yet(kind, fails):
    text = layer(kind, "transform_param { crop_size: 3 }", name="x")
    fails(text, f"layer `x`: netdef does not read the files of {kind} yet; ")
    assert netdef.load(text).diagnostics[0].code == "unavailable"
