"""Damaged, unreadable and odd files: one line of error that names the file, never a crash of the process.

`fuzzing/fuzz_data.py` makes many random changes; a few of them run here.
"""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef.cli import main
from netdef.data.key_value import open_database
from netdef.data.sources import open_source
from netdef.language.errors import printable

FUZZ = Path(__file__).parents[1] / "fuzzing" / "fuzz_data.py"
BLOCKS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "HDF5Data": "hdf5_data_param",
    "ImageFolder": "image_folder_param",
    "ImageTable": "image_table_param",
    "ArrayData": "array_data_param",
    "TarData": "tar_data_param",
    "WindowData": "window_data_param",
}


def text_of(kind: str, source: str) -> str:
    beside = "transform_param { crop_size: 4 }" if kind == "WindowData" else ""
    return layer(kind, f'{BLOCKS[kind]} {{ source: "{source}" batch_size: 2 }}', beside=beside, name="x")


@pytest.fixture
def error_of(tmp_path):
    """error_of(text): the one line with which reading a net's data fails."""

    def read(text: str) -> str:
        with pytest.raises(netdef.NetdefError) as caught:
            next(netdef.data.batches(text, phase="TRAIN", root=tmp_path))
        line = str(caught.value)
        assert "\n" not in line and line.isprintable() and len(line) < 600
        return line

    return read


def test_mutations():
    done = subprocess.run([sys.executable, FUZZ, "--mutations", "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("n", [0, 1, 40, 3000])
def test_lmdb_is_read_as_the_library_does(n, tmp_path):
    lmdb = pytest.importorskip("lmdb")
    rng = random.Random(n)
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as env:
        for _ in range(2):
            with env.begin(write=True) as txn:
                for i in range(n):
                    txn.put(
                        b"%08d" % i + rng.randbytes(rng.randrange(4)), rng.randbytes(rng.choice((0, 9, 2030, 9000)))
                    )
                for i in range(0, n, 7):
                    txn.delete(b"%08d" % i)
        with env.begin() as txn:
            expected = list(txn.cursor())
    database = open_database(tmp_path / "db")
    assert database.size == len(expected) and database.is_empty == (not n)
    assert list(database.pairs()) == expected
    if n:
        numbers = [*range(len(expected)), 0, 1] + [rng.randrange(len(expected)) for _ in range(50)]
        assert database.read(numbers) == [expected[i] for i in numbers]
    database.close()


def test_lmdb_has_as_many_records_as_it_says(tmp_path):
    write_lmdb(tmp_path / "db", [datum(image, 0) for image in numbered(5)])
    file = tmp_path / "db" / "data.mdb"
    whole = file.read_bytes()
    for count, words in ((4, "has 5 of 4 records"), (6, "has 5 of 6 records"), (1 << 50, "says that it has")):
        changed = bytearray(whole)
        for page in (0, 4096):
            at = page + 16 + 24 + 48 + 32  # header, magic to map size, the tree of free pages, entries of the main one
            changed[at : at + 8] = count.to_bytes(8, "little")
        file.write_bytes(changed)
        with pytest.raises(netdef.NetdefError, match=words):
            open_database(tmp_path / "db").read(range(6))


@pytest.mark.parametrize("kind", BLOCKS)
def test_sources_that_cannot_be_read(kind, tmp_path, error_of):
    net = tmp_path / "n.prototxt"
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    for source, words in (
        ("a" * 5000, " characters) cannot be read (File name too long)."),
        ("a/" * 3000, "cannot be read (File name too long)."),
        ("a\\000b", "a\\x00b cannot be read (embedded null byte)."),
        ("~a\\000b", "a\\x00b cannot be read (embedded null byte)."),
        ("loop", "loop cannot be read (Too many levels of symbolic links)."),
    ):
        text = text_of(kind, source)
        line = error_of(text)
        assert line.startswith("layer `x`: `source`: the ") and line.endswith(words)
        net.write_text(text)
        assert main(["check", str(net)]) in (0, 1)


@pytest.mark.parametrize("kind", ["ImageData", "HDF5Data", "ImageTable", "WindowData"])
def test_a_folder_instead_of_a_file(kind, tmp_path, error_of):
    (tmp_path / "folder").mkdir()
    line = error_of(text_of(kind, "folder"))
    assert line.startswith("layer `x`: `source`: the ") and line.endswith("/folder cannot be read (Is a directory).")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_source_without_permission(kind, tmp_path, error_of):
    (tmp_path / "secret").mkdir() if kind == "ImageFolder" else (tmp_path / "secret").touch()
    (tmp_path / "secret").chmod(0)
    line = error_of(text_of(kind, "secret"))
    assert line.startswith("layer `x`: `source`: the ") and line.endswith("/secret cannot be read (Permission denied).")


def test_mean_files_that_cannot_be_read(tmp_path, error_of):
    write_lmdb(tmp_path / "db", [datum(numbered(1)[0], 0)])
    (tmp_path / "folder").mkdir()
    for name, words in (("a" * 5000, "File name too long"), ("folder", "Is a directory"), ("a\\000", "null byte")):
        text = text_of("Data", "db").replace("type:", f'transform_param {{ mean_file: "{name}" }} type:')
        line = error_of(text)
        assert line.startswith("layer `x`: `mean_file`: ") and words in line


@pytest.mark.parametrize("field", ["net", "train_net"])
def test_the_net_of_a_solver(field, tmp_path, capsys):
    solver = tmp_path / "a\nb" / "solver.prototxt"
    solver.parent.mkdir()
    for name, words in (
        ("a" * 5000, "File name too long"),
        ("b.prototxt", "file not found"),
        (".", "this is a folder"),
    ):
        solver.write_text(f'{field}: "{name}" base_lr: 1 lr_policy: "fixed" max_iter: 1')
        assert main(["check", str(solver)]) == 2
        line = capsys.readouterr().err
        assert (
            printable(f"{solver}: `{field}`: ") in line and words in line and line.count("\n") == 1 and len(line) < 600
        )


def test_odd_names_in_lists(tmp_path, error_of):
    write_images(tmp_path, numbered(1, 3))
    for line, words in (
        ("a\0b.png 1", r"a\x00b.png cannot be read (embedded null byte); check the list"),
        ("a" * 300 + " 1", "(File name too long); check the list and `root_folder`"),
        ("00.png 99999999999999999999", "with an integer as the label, not `00.png 99999999999999999999`"),
        ("00.png " + "9" * 5000, "with an integer as the label"),
        ("\udcff.png 1", r"\udcff.png cannot be read (No such file"),
    ):
        (tmp_path / "list.txt").write_text(line + "\n", encoding="utf-8", errors="surrogateescape")
        assert words in error_of(text_of("ImageData", "list.txt"))
    (tmp_path / "list.txt").write_bytes(b"x\0.h5\n\xff.h5\n")
    assert "does not exist" in error_of(text_of("HDF5Data", "list.txt"))


def test_a_folder_of_images_has_no_list(tmp_path, error_of):
    (tmp_path / "faces" / "a").mkdir(parents=True)
    os.symlink("nowhere", tmp_path / "faces" / "a" / "1.png")
    line = error_of(text_of("ImageFolder", "faces"))
    assert line.endswith("1.png cannot be read (No such file or directory); restore it, or set `skip_corrupt`.")


def test_tables(tmp_path, error_of):
    for content, words in (
        (b"file,label\n\xff.png,1\n", "t.csv is not a readable table ('utf-8' codec"),
        (b'file,label\n"' + b"a" * 200_000 + b'",1\n', "t.csv is not a readable table (field larger than"),
    ):
        (tmp_path / "t.csv").write_bytes(content)
        assert words in error_of(text_of("ImageTable", "t.csv"))


def test_hdf5_that_is_no_array_of_numbers(tmp_path, error_of):
    (tmp_path / "list.txt").write_text("x.h5\n")
    for write, words in (
        (lambda file: file.create_group("data"), "`data` in "),
        (lambda file: file.create_dataset("data", data=np.array([b"a", b"b"])), "is not an array of numbers, but |S1"),
        (lambda file: file.create_dataset("data", (1 << 40, 9), "f4", chunks=(1, 9)), "(`data` says that it has"),
    ):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            write(file)
            file["label"] = np.zeros(2)
        assert words in error_of(text_of("HDF5Data", "list.txt"))
        with pytest.raises(netdef.NetdefError, match="data"):
            open_source(tmp_path / "x.h5")


def test_arrays(tmp_path, error_of):
    np.savez(tmp_path / "x.npz", data=numbered(3), label=np.array(["a", "b", "c"]))
    assert "array `label` has elements of type <U1; numbers are required" in error_of(text_of("ArrayData", "x.npz"))
    (tmp_path / "rows").mkdir()
    np.save(tmp_path / "rows" / "data.npy", np.asfortranarray(numbered(3)))
    np.save(tmp_path / "rows" / "label.npy", np.arange(3))
    batch = next(netdef.data.batches(text_of("ArrayData", "rows"), phase="TEST", root=tmp_path))
    np.testing.assert_array_equal(batch["data"], numbered(3)[:2])
    assert batch["label"].tolist() == [0, 1]
    file = tmp_path / "rows" / "data.npy"
    file.write_bytes(file.read_bytes()[:-1])
    assert "data.npy is not a readable NumPy file" in error_of(text_of("ArrayData", "rows"))


def test_the_checksum_of_an_array_is_compared_also_if_its_size_is_damaged(tmp_path, error_of):
    np.savez_compressed(tmp_path / "x.npz", data=numbered(12, 3, 20, 20), label=np.arange(12))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    first = data.index(b"PK\x01\x02")  # in the list at the end of the file
    data[first + 16] ^= 1  # its checksum, which the damaged array would not have
    data[first + 25] += 56  # its size, so that the end of the array is not that of its file
    (tmp_path / "x.npz").write_bytes(data)
    assert "x.npz is not a readable NumPy file (" in error_of(text_of("ArrayData", "x.npz"))


@pytest.mark.parametrize(
    "content", [b"\0\0\x08\x03", b"\0\0\x08\x03" + b"\xff" * 12, gzip.compress(b"\0\0\x08\x03" * 9, mtime=0)]
)
def test_idx(content, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content if content[:2] != b"\x1f\x8b" else content[:-9])
    with pytest.raises(netdef.NetdefError) as caught:
        open_source(path)
    assert printable(str(path)) in str(caught.value) and "\n" not in str(caught.value)


def test_a_truncated_database_is_no_crash(tmp_path):
    write_lmdb(tmp_path / "db", [datum(image, 0) for image in numbered(200, 3, 30, 30)])
    program = f"""
import os, netdef
from netdef.data.key_value import open_database
from pathlib import Path
database = open_database(Path({str(tmp_path / "db")!r}))
database.read(range(50))
os.truncate({str(tmp_path / "db" / "data.mdb")!r}, 20000)
try:
    database.read(range(50, 200))
except netdef.NetdefError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != -signal.SIGBUS and "data.mdb has changed while it was in use" in done.stdout


def test_a_leveldb_that_changes_while_it_is_used(tmp_path):
    plyvel = pytest.importorskip("plyvel")
    db = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    for i, image in enumerate(numbered(9)):
        db.put(b"%08d" % i, datum(image, i))
    db.compact_range()
    db.close()
    database = open_database(tmp_path / "db")
    first = database.read(range(9))
    assert database.read([5, 2]) == [first[5], first[2]]
    table = next((tmp_path / "db").glob("*.ldb"))
    table.write_bytes(table.read_bytes()[:20])
    with pytest.raises(netdef.NetdefError, match="/db has changed while it was in use; run again when it is complete"):
        database.read([0])
    database.close()
    with pytest.raises(netdef.NetdefError, match="/db is not a readable LevelDB database"):
        open_database(tmp_path / "db").read([0])


def test_a_name_that_no_file_can_have():
    with pytest.raises(netdef.NetdefError, match="file not found"):
        netdef.load("a" * 300)
