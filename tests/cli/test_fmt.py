"""`netdef fmt` and `netdef expand`."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

import netdef as package
from netdef.language.errors import printable

UGLY = 'name:"n"  # a name\nlayer{name:"x" type:\'Input\' top:"x" input_param<shape{dim:2}>}\n'
NEAT = """name: "n"  # a name
layer {
  name: "x"
  type: "Input"
  top: "x"
  input_param {
    shape { dim: 2 }
  }
}
"""


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(UGLY)
    return path


def test_files_are_formatted_in_place(netdef, ugly: Path):
    ugly.chmod(0o640)
    done = netdef("fmt", ugly)
    assert (done.code, done.out, done.err) == (0, f"{printable(str(ugly))}\n", "1 of 1 file formatted\n")
    assert ugly.read_text() == NEAT
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640
    assert os.listdir(ugly.parent) == ["net.prototxt"]
    before = ugly.stat().st_mtime_ns
    assert netdef("fmt", ugly) == (0, "", "0 of 1 file formatted\n")
    assert ugly.stat().st_mtime_ns == before


def test_check_and_diff_change_nothing(netdef, ugly: Path):
    assert netdef("fmt", "--check", ugly) == (1, f"{printable(str(ugly))}\n", "1 of 1 file would be formatted\n")
    done = netdef("fmt", "--diff", ugly)
    assert done.code == 1
    assert '-name:"n"  # a name\n' in done.out and '+name: "n"  # a name\n' in done.out
    assert ugly.read_text() == UGLY
    ugly.write_text(NEAT)
    assert netdef("fmt", "--check", "--diff", ugly).code == 0


def test_folders(netdef, ugly: Path, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.net").write_text(NEAT)
    (tmp_path / "deep" / "c.txt").write_text(UGLY)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.net").write_text(UGLY)
    assert netdef("fmt", "--check", tmp_path) == (1, f"{printable(str(ugly))}\n", "1 of 2 files would be formatted\n")
    (tmp_path / "empty").mkdir()
    done = netdef("fmt", tmp_path / "empty")
    assert done.code == 2 and "no .net or .prototxt files in this folder" in done.err


def test_an_invalid_file_is_left_alone_and_the_others_are_formatted(netdef, ugly: Path, tmp_path: Path):
    bad = tmp_path / "bad.net"
    bad.write_text("layer {\n")
    binary = tmp_path / "binary.net"
    binary.write_bytes(b"\0\1\2")
    done = netdef("fmt", bad, ugly, binary)
    assert done.code == 2
    assert "[unclosed-block]" in done.err and "binary.net: this is a binary file" in done.err
    assert bad.read_text() == "layer {\n" and ugly.read_text() == NEAT
    assert netdef("fmt", tmp_path / "none.net").code == 2


def piped(text: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()))


@pytest.mark.parametrize("words", [(), ("-",)])
def test_stdin(netdef, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    monkeypatch.setattr("sys.stdin", piped(UGLY))
    assert netdef("fmt", *words) == (0, NEAT, "")
    monkeypatch.setattr("sys.stdin", piped(UGLY))
    assert netdef("fmt", "--check", *words) == (1, "<stdin>\n", "")
    monkeypatch.setattr("sys.stdin", piped("layer {"))
    assert netdef("fmt", *words).code == 2


def test_latin_1_and_a_byte_order_mark_become_utf_8(netdef, tmp_path: Path):
    path = tmp_path / "old.prototxt"
    path.write_bytes('name: "Gr\xfcn"\r\n'.encode("latin-1"))
    assert netdef("fmt", path).code == 0
    assert path.read_bytes() == 'name: "Grün"\n'.encode()
    path.write_bytes(b"\xef\xbb\xbf" + b'name: "n"\n')
    assert netdef("fmt", path).code == 0
    assert path.read_bytes() == b'name: "n"\n'


ONE_FILE = """
let width: 4
template ip(name, out) {
  layer { name: "${name}" type: "InnerProduct" bottom: "x" top: "${name}" inner_product_param { num_output: ${out} } }
}
name: "n"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
ip { name: "a" out: ${width} }
solver { base_lr: 0.1 stepvalue: [10, 20] lr_policy: "multistep" gamma: 0.1 }
"""


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    path = tmp_path / "one.net"
    path.write_text(ONE_FILE)
    return path


def test_folders_of_runs_are_left_alone(netdef, tmp_path: Path):
    run = tmp_path / "runs" / "a"
    (run / "iter_000005").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    own, kept, inside = tmp_path / "a.net", run / "net.prototxt", run / "iter_000005" / "net.prototxt"
    for path in (own, kept, inside):
        path.write_text('name:"a"')
    assert netdef("fmt", tmp_path).code == 0
    assert own.read_text() == 'name: "a"\n' and kept.read_text() == inside.read_text() == 'name:"a"'
    done = netdef("fmt", run)
    assert done.code == 2 and "outside of runs" in done.err
    assert netdef("fmt", kept).code == 0 and kept.read_text() == 'name: "a"\n'  # a file that is named is formatted
    assert "runs" in netdef("fmt", "--help").out


def test_expand_prints_the_net_alone(netdef, one_file: Path):
    done = netdef("expand", one_file, "--set", "width=7")
    assert (done.code, done.err) == (0, "")
    assert "inner_product_param { num_output: 7 }" in done.out
    assert "template" not in done.out and "solver" not in done.out and "base_lr" not in done.out
    assert package.load(done.out).params == {"a": [(7, 3), (7,)]}


def test_expand_prints_the_solver_alone(netdef, one_file: Path):
    done = netdef("expand", one_file, "--solver")
    assert done.out.splitlines() == [
        'net: "one.prototxt"',
        "base_lr: 0.1",
        "stepvalue: 10",
        "stepvalue: 20",
        'lr_policy: "multistep"',
        "gamma: 0.1",
    ]
    lines = netdef("expand", one_file, "--solver", "--set", "solver.base_lr=1").out.splitlines()
    assert "base_lr: 1" in lines and "base_lr: 0.1" not in lines


def test_both_files_together_are_the_one(netdef, one_file: Path):
    folder = one_file.parent / "caffe"
    folder.mkdir()
    assert netdef("expand", one_file, "-o", folder / "one.prototxt") == (0, "", "")
    assert netdef("expand", one_file, "--solver", "-o", folder / "solver.prototxt") == (0, "", "")
    net = package.load(folder / "solver.prototxt")
    assert net.params == package.load(one_file).params
    assert net.solver.base_lr == 0.1 and net.solver.policy.stepvalue == (10, 20)


def test_expand_without_a_solver_or_with_an_error(netdef, tmp_path: Path):
    path = tmp_path / "n.net"
    path.write_text('name: "n"\n')
    done = netdef("expand", path, "--solver")
    assert done.code == 2 and "has no solver" in done.err
    path.write_text("num_output: ${width}\n")
    done = netdef("expand", path)
    assert done.code == 2 and "[unknown-name]" in done.err and done.out == ""
