"""`netdef data`: converting, measuring and checking data sets."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import struct
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb
from PIL import Image

import netdef
from netdef.cli import main
from netdef.data import convert as conversion
from netdef.data.sources import open_source
from netdef.interop.caffe_proto import messages
from netdef.interop.means import mean_image


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """run(words...) -> (exit code, stdout, stderr), in the folder of the test."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["data", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def faces(tmp_path):
    for i, name in enumerate(("anna", "bob")):
        write_images(tmp_path / "faces" / name, numbered(5, 3)[i::2])
    return np.concatenate([numbered(5, 3)[0::2], numbered(5, 3)[1::2]])


def all_records(path: Path) -> tuple[np.ndarray, list[int]]:
    records = open_source(path)
    found = [records.decode(raw) for raw in records.read(range(records.size))]
    records.close()
    return np.stack([r.image for r in found]), [int(r.labels[0]) for r in found]


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5", "out.npz", "out.tar"])
def test_a_folder_becomes_anything(run, faces, target, tmp_path):
    code, out, _ = run("convert", "faces", target)
    assert (code, out) == (0, f"{target}: 5 records\n")
    images, labels = all_records(tmp_path / target)
    np.testing.assert_array_equal(images, faces)
    assert labels == [0, 0, 0, 1, 1]
    assert not list(tmp_path.glob("*.partial"))


def test_lmdb_is_read_by_lmdb_and_protobuf_alone(run, faces, tmp_path):
    lmdb = pytest.importorskip("lmdb")
    run("convert", "faces", "out.lmdb")
    with lmdb.open(str(tmp_path / "out.lmdb"), readonly=True, lock=False) as env, env.begin() as txn:
        pairs = list(txn.cursor())
    assert [key for key, _ in pairs] == [b"%08d" % i for i in range(5)]
    one = messages().Datum.FromString(pairs[3][1])
    assert (one.channels, one.height, one.width, one.label, one.encoded) == (3, 4, 5, 1, False)
    assert one.data == faces[3].tobytes()


def test_a_net_reads_what_was_written(run, faces, batches):
    run("convert", "faces", "out.h5")
    text = layer("HDF5Data", 'hdf5_data_param { source: "out.h5.txt" batch_size: 5 }')
    batch = batches(text, 1)[0]
    np.testing.assert_array_equal(batch["data"], faces)
    assert batch["label"].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("folder", ["my faces", "a\nb", "a\u2028b\xa0c", os.fsdecode(b"\xff")])
def test_a_net_reads_what_was_written_to_a_folder_of_any_name(run, faces, folder, tmp_path, monkeypatch):
    try:
        (tmp_path / folder).mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this system has no such names")
    monkeypatch.chdir(tmp_path / folder)
    assert run("convert", "../faces", "my set.h5")[0] == 0
    text = layer("HDF5Data", 'hdf5_data_param { source: "my set.h5.txt" batch_size: 5 }')
    (tmp_path / folder / "n.net").write_text(text)
    batch = next(netdef.data.batches(tmp_path / folder / "n.net"))
    np.testing.assert_array_equal(batch["data"], faces)


def test_a_list_of_hdf5_files_has_words_as_in_caffe_or_whole_lines(tmp_path, batches):
    for name, value in (("a.h5", 1), ("b.h5", 2), ("c d.h5", 3)):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"] = np.full((1, 2), value, np.float32)
    text = layer("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 3 }', "data")
    (tmp_path / "list.txt").write_text("a.h5  b.h5\r\n\n  c d.h5 \n")
    assert batches(text, 1)[0]["data"][:, 0].tolist() == [1, 2, 3]
    for content, missing in (("c e.h5\n", "c e.h5"), ("a.h5 e.h5\n", "e.h5")):
        (tmp_path / "list.txt").write_text(content)
        with pytest.raises(netdef.NetdefError, match=rf"list.txt:1: .*/{missing} does not exist"):
            batches(text, 1)


def test_a_file_whose_name_cannot_be_listed_is_refused(run, faces, tmp_path):
    code, _, err = run("convert", "faces", "a\nb.h5")
    assert code == 1 and "line break" in err and len(err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["faces"]


def test_encoded_resized_gray_and_shuffled(run, faces, tmp_path):
    assert run("convert", "faces", "a.lmdb", "--encoded")[0] == 0
    np.testing.assert_array_equal(all_records(tmp_path / "a.lmdb")[0], faces)
    import lmdb

    with lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False) as env, env.begin() as txn:
        first = messages().Datum.FromString(next(iter(txn.cursor()))[1])
    assert first.encoded and first.data == (tmp_path / "faces" / "anna" / "00.png").read_bytes()
    assert run("convert", "faces", "b.lmdb", "--resize", "6x7", "--gray", "--shuffle")[0] == 0
    images, labels = all_records(tmp_path / "b.lmdb")
    assert images.shape == (5, 1, 6, 7) and sorted(labels) == [0, 0, 0, 1, 1]


def test_a_folder_of_shards(run, faces, batches, tmp_path):
    code, out, _ = run("convert", "faces", "shards", "--to", "tar", "--shard-size", "2")
    assert (code, out) == (0, "shards: 5 records\n")
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == ["000000.tar", "000001.tar", "000002.tar"]
    with tarfile.open(tmp_path / "shards" / "000001.tar") as file:
        assert [m.name for m in file] == ["00000002.png", "00000002.cls", "00000003.png", "00000003.cls"]
        assert file.extractfile("00000003.cls").read() == b"1"
    for source in ("shards", "shards/{000000..000002}.tar", "shards/*.tar"):
        images, labels = all_records(Path(source))
        np.testing.assert_array_equal(images, faces)
        assert labels == [0, 0, 0, 1, 1]
        code, out, _ = run("check", source)
        assert (code, out) == (0, f"{source}: 5 records, 0 corrupt\n")
    text = layer("TarData", 'tar_data_param { source: "shards" batch_size: 5 }')
    np.testing.assert_array_equal(batches(text, 1)[0]["data"], faces)
    assert "is not a data set" not in run("check", "shards/{000000..000003}.tar")[2]


def test_files_in_tar_are_those_of_the_folder(run, faces, tmp_path):
    Image.open(tmp_path / "faces" / "bob" / "01.png").convert("L").save(tmp_path / "faces" / "bob" / "01.jpg")
    (tmp_path / "faces" / "bob" / "01.png").unlink()
    assert run("convert", "faces", "a.tar", "--encoded")[0] == 0
    with tarfile.open(tmp_path / "a.tar") as file:
        assert [m.name for m in file if not m.name.endswith("cls")][-1] == "00000004.jpg"
        assert file.extractfile("00000004.jpg").read() == (tmp_path / "faces" / "bob" / "01.jpg").read_bytes()
    assert run("convert", "a.tar", "b.lmdb", "--encoded")[0] == 0
    assert run("convert", "b.lmdb", "c.tar", "--encoded")[0] == 0
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "c.tar").read_bytes()


def test_labels_and_images_that_tar_has_no_simple_form_for(run, tmp_path):
    np.savez(tmp_path / "x.npz", data=numbered(3), label=np.array([[0.5, 1], [2, 3], [4, 5]]))
    assert run("convert", "x.npz", "x.tar")[0] == 0
    records = open_source(tmp_path / "x.tar", is_color=False)
    assert [records.decode(raw).labels[0].tolist() for raw in records.read(range(3))] == [[0.5, 1], [2, 3], [4, 5]]
    records.close()
    np.savez(tmp_path / "y.npz", data=np.zeros((2, 4, 3, 3), np.float32), label=np.arange(2))
    code, _, err = run("convert", "y.npz", "y.tar")
    assert code == 1 and "row 0 of " in err and "is 4x3x3 float32, but images in a tar file have 1 or 3 channels" in err


def test_shards_of_other_kinds(run, faces):
    for words in (("x.lmdb", "--shard-size", "2"), ("x.tar", "--shard-size", "0")):
        code, _, err = run("convert", "faces", *words)
        assert code == 2 and "--shard-size" in err and "expected at least 1, and --to tar" in err


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("kept", [0, 1, 100, 1200, 2048, 3000, None])
def test_a_tar_conversion_goes_on_after_the_last_whole_record(run, faces, tmp_path, size, kept):
    words = ("--to", "tar", *(("--shard-size", str(size)) if size else ()))
    assert run("convert", "faces", "whole", *words)[0] == 0
    whole = tmp_path / "whole"
    files = sorted(whole.iterdir()) if size else [whole]
    partial = tmp_path / "out.partial"
    shutil.copytree(whole, partial) if size else shutil.copy(whole, partial)
    if size:
        (partial / files[-1].name).unlink()
    last = sorted(partial.iterdir())[-1] if size else partial
    last.write_bytes(last.read_bytes()[:kept])
    code, out, err = run("convert", "faces", "out", *words)
    assert (code, out) == (0, "out: 5 records\n") and not partial.exists()
    assert ("resuming at record" in err) == (kept is None or kept > 2048 or size > 0)
    made = sorted((tmp_path / "out").iterdir()) if size else [tmp_path / "out"]
    assert [file.read_bytes() for file in made] == [file.read_bytes() for file in files]


def test_lists_with_a_root(run, tmp_path):
    write_images(tmp_path / "pictures", numbered(2, 3))
    (tmp_path / "list.txt").write_text("00.png 4\n01.png 6\n")
    assert run("convert", "list.txt", "out.npz", "--root", "pictures")[0] == 0
    assert all_records(tmp_path / "out.npz")[1] == [4, 6]


def test_mnist_and_cifar(run, tmp_path):
    digits = numbered(3, 1, 28, 28)
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28) + digits.tobytes())
    with gzip.open(tmp_path / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes([7, 2, 1]))
    assert run("convert", "train-images-idx3-ubyte.gz", "mnist.lmdb")[0] == 0
    images, labels = all_records(tmp_path / "mnist.lmdb")
    np.testing.assert_array_equal(images, digits)
    assert labels == [7, 2, 1]
    colors = numbered(4, 3, 32, 32)
    rows = [bytes([i]) + image[::-1].tobytes() for i, image in enumerate(colors)]  # red first
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(rows))
    assert run("convert", "data_batch_1.bin", "cifar.npz")[0] == 0
    images, labels = all_records(tmp_path / "cifar.npz")
    np.testing.assert_array_equal(images, colors)
    assert labels == [0, 1, 2, 3]
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    code, _, err = run("convert", "train-images-idx3-ubyte.gz", "again.lmdb")
    assert code == 1 and "the labels of train-images-idx3-ubyte.gz are missing" in err


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5", "out.tar"])
def test_a_full_disk_is_named_and_the_conversion_goes_on(run, faces, target, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "COMMIT", 2)
    sink = conversion.SINKS[conversion.kind_of(Path(target))]
    put, calls = sink.put, []

    def full(self, records):
        calls.append(records[0][0])
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, records)

    monkeypatch.setattr(sink, "put", full)
    code, _, err = run("convert", "faces", target)
    assert code == 1 and err.count("\n") == 1
    assert (
        f"{target}: writing record 2 failed: the disk is full." in err and f"{target}.partial; free some space" in err
    )
    assert not (tmp_path / target).exists()
    code, out, err = run("convert", "faces", target)
    assert (code, out) == (0, f"{target}: 5 records\n") and "resuming at record 2 of 5" in err
    assert calls == [0, 2, 2, 4]  # the first two were not written again
    np.testing.assert_array_equal(all_records(tmp_path / target)[0], faces)


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5", "out.npz"])
def test_only_a_full_disk_asks_for_space(run, faces, target, tmp_path, monkeypatch):
    def broken(self, records):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    sink = conversion.SINKS[conversion.kind_of(Path(target))]
    put = sink.put
    monkeypatch.setattr(sink, "put", broken)
    code, _, err = run("convert", "faces", target)
    assert code == 1 and err.count("\n") == 1
    assert f"{target}: writing record 0 failed: Input/output error." in err and "space" not in err
    monkeypatch.setattr(sink, "put", put)
    assert run("convert", "faces", target)[0] == 0
    assert sorted(p.name for p in tmp_path.glob("out*")) == sorted(
        {target, *([f"{target}.txt"] * (target == "out.h5"))}
    )


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5"])
def test_space_is_looked_for_before_writing(run, faces, target, monkeypatch):
    """Because lmdb and HDF5 leave half-written files on a full disk, or die of a file that is mapped into memory."""
    Usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10_000, 9_000, 1_000))
    code, _, err = run("convert", "faces", target)
    assert code == 1 and f"{target}: writing record 0 failed: the disk is full." in err and "free some space" in err
    monkeypatch.undo()


def test_an_archive_that_fails_leaves_nothing(run, faces, tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(conversion.np, "savez", full)
    code, _, err = run("convert", "faces", "out.npz")
    assert code == 1 and "the disk is full.  Nothing is kept; free some space and run the same command again." in err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5"])
@pytest.mark.parametrize("content", [b"", b"damaged" * 2000])
def test_a_damaged_partial_file_is_started_again(run, faces, target, content, tmp_path):
    partial = tmp_path / f"{target}.partial"
    if target == "out.lmdb":
        partial.mkdir()
        partial = partial / "data.mdb"
    partial.write_bytes(content)
    assert run("convert", "faces", target)[:2] == (0, f"{target}: 5 records\n")
    np.testing.assert_array_equal(all_records(tmp_path / target)[0], faces)


@pytest.mark.parametrize("target", ["out.lmdb", "out.h5", "out.npz"])
def test_a_target_that_cannot_be_written(run, faces, target, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run("convert", "faces", f"file/{target}")
    assert code == 1 and err.count("\n") == 1
    assert f"file/{target}: cannot be written (" in err and "write it elsewhere" in err


def test_a_target_that_is_there_is_kept(run, faces, tmp_path):
    (tmp_path / "out.npz").write_text("precious")
    code, _, err = run("convert", "faces", "out.npz")
    assert code == 2 and "out.npz already exists" in err and (tmp_path / "out.npz").read_text() == "precious"
    assert run("convert", "faces", "out.npz", "--force")[0] == 0


def test_broken_images_are_named_or_left_out(run, faces, tmp_path):
    (tmp_path / "faces" / "anna" / "01.png").write_bytes(b"broken")
    code, _, err = run("convert", "faces", "out.lmdb")
    assert code == 1 and "anna/01.png cannot be decoded as an image" in err
    code, out, err = run("convert", "faces", "out.lmdb", "--skip-corrupt")
    assert (code, out) == (0, "out.lmdb: 4 records, 1 skipped\n") and "skipped:" in err
    code, out, _ = run("check", "faces")
    assert code == 1 and "anna/01.png cannot be decoded" in out and out.endswith("faces: 5 records, 1 corrupt\n")
    assert run("check", "out.lmdb")[:2] == (0, "out.lmdb: 4 records, 0 corrupt\n")


def test_several_sizes_need_resizing(run, tmp_path):
    write_images(tmp_path / "f" / "a", numbered(1, 3))
    write_images(tmp_path / "f" / "b", numbered(1, 3, 6, 5))
    code, _, err = run("convert", "f", "out.npz")
    assert code == 1 and "is 3x6x5, but" in err and "--resize HxW" in err
    assert "the images have 2 different shapes" in run("check", "f")[1]
    assert run("mean", "f", "-o", "m")[0] == 1
    assert run("convert", "f", "out.npz", "--resize", "4x4")[0] == 0
    assert run("convert", "f", "x.npz", "--resize", "4")[0] == 2


def test_mean(run, faces, tmp_path):
    code, out, _ = run("mean", "faces", "--output", "m.binaryproto")
    assert code == 0 and out.startswith("m.binaryproto: mean of 5 images of shape 3x4x5\nmean_value: ")
    mean = mean_image(tmp_path / "m.binaryproto")
    np.testing.assert_allclose(mean, faces.astype(np.float64).mean(0), rtol=1e-6)


def test_the_recorded_mean_file():
    folder = Path(__file__).parents[1] / "golden" / "data"
    recorded = mean_image(folder / "mean.binaryproto")
    assert recorded.shape == (3, 56, 46) and recorded.dtype == np.float32


def test_stats(run, faces, tmp_path):
    code, out, _ = run("stats", "faces", "--json", "--sheet", "s.png")
    found = json.loads(out)
    assert code == 0 and found["records"] == 5 and found["shapes"] == {"3x4x5": 5}
    assert found["classes"] == {"0": 3, "1": 2}
    np.testing.assert_allclose(found["mean"], faces.mean((0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(found["deviation"], faces.std((0, 2, 3)), atol=1e-4)
    assert size(tmp_path / "s.png")[0] > 5
    out = run("stats", "faces")[1]
    assert "classes    2, with 2 to 3 records each" in out and "in a net   transform_param { mean_value:" in out


def test_stats_of_a_net_show_what_it_sees(run, tmp_path):
    write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(numbered(4, 3, 8, 8))])
    beside = "transform_param { crop_size: 5 mirror: true }"
    text = layer("Data", 'data_param { source: "db" batch_size: 4 backend: LMDB }', beside=beside)
    (tmp_path / "n.net").write_text(text)
    code, out, _ = run("stats", "n.net", "--sheet", "s.png")
    assert code == 0 and "records    4" in out
    assert size(tmp_path / "s.png") == (2 * 5 + 2, 2 * 5 + 2)
    code, _, err = run("stats", "n.net", "--layer", "other")
    assert code == 1 and "n.net has no data layer `other` in phase TRAIN" in err


def test_a_source_that_is_not_there(run):
    code, _, err = run("stats", "nowhere")
    assert code == 2 and "nowhere" in err
    with pytest.raises(netdef.NetdefError, match="does not exist"):
        open_source(Path("nowhere"))


@pytest.mark.parametrize("left", ["empty", "torn", "behind"])
def test_an_hdf5_conversion_that_was_killed_while_it_wrote_begins_again(run, faces, tmp_path, left):
    run("convert", "faces", "whole.h5")
    broken = tmp_path / "out.h5.partial"
    broken.write_bytes({"empty": b"", "torn": (tmp_path / "whole.h5").read_bytes()[:3000]}.get(left, b""))
    if left == "behind":  # rows that were counted and did not reach the disk
        broken.write_bytes((tmp_path / "whole.h5").read_bytes())
        with h5py.File(broken, "a") as file:
            file["data"].resize(2, 0)
    code, out, _ = run("convert", "faces", "out.h5")
    assert (code, out) == (0, "out.h5: 5 records\n") and not broken.exists()
    assert np.array_equal(all_records(tmp_path / "out.h5")[0], faces)


def test_an_hdf5_conversion_killed_before_its_last_step_is_finished_with_its_list(run, faces, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "put_in_place", lambda whole, path: 1 / 0)
        assert run("convert", "faces", "out.h5")[0] == 1
    assert not (tmp_path / "out.h5").exists()
    assert run("convert", "faces", "out.h5")[0] == 0
    (listed,) = (tmp_path / "out.h5.txt").read_text().splitlines()  # from the list's folder if that has a line end
    assert tmp_path / listed == tmp_path / "out.h5"


def test_what_a_killed_replacement_of_a_database_left_is_removed(run, faces, tmp_path):
    run("convert", "faces", "out.lmdb")
    write_lmdb(tmp_path / "out.lmdb~", [b"old"])
    assert run("convert", "faces", "out.lmdb", "--force")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces", "out.lmdb"]
