"""Files that are no nets: pipes, devices, very large files, and texts that are made to take long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import netdef
from netdef.language.errors import printable
from netdef.language.source import LARGEST, Source

SECONDS, MEGABYTES = 3.0, 300  # of CPU time for one text, on a busy machine; of memory for all of them

HOSTILE = r"""
import json, re, time
from pathlib import Path
import netdef
from netdef.data.label_map import is_label_map
from netdef.language.source import Source

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 3, 8, 8] } } }\n'

def layers(count, form):
    return DATA + "".join("layer { %s }\n" % form.replace("#", str(i)) for i in range(count))

TEXTS = {
    "numbers of a list": lambda: "a: [" + "1, " * 1_300_000 + "1]",
    "comments": lambda: "#\n" * 2_000_000,
    "empty lines": lambda: "\n" * 4_000_000,
    "strings": lambda: "a: " + '"" ' * 1_300_000,
    "escapes": lambda: 'a: "' + "\\n" * 500_000 + '"',
    "interpolations": lambda: 'a: "' + "${1}" * 900_000 + '"',
    "sums": lambda: "a: ${" + "1+" * 1_900_000 + "1}",
    "parentheses": lambda: "a: ${" + "(" * 4_000_000,
    "open blocks": lambda: "a{" * 2_000_000,
    "quotes": lambda: '"' * 4_000_000,
    "many layers": lambda: "layer { } " * 10_001,
    "layers of unknown types": lambda: layers(1500, 'name: "l#" type: "No#" top: "t#" include { phase: TEST }'),
    "tops in place": lambda: 'layer { name: "d" type: "Input" input_param { shape { dim: 1 } } '
    + "".join(f'top: "d{i}" ' for i in range(12_000)) + '} layer { name: "s" type: "Split" '
    + "".join(f'top: "d{i}" bottom: "d{i}" ' for i in range(12_000)) + "}",
    "a loop": lambda: DATA + 'for i in range(2000) { layer { name: "l${i}" type: "ReLU" bottom: "d" top: "d" } }',
    "lists of a loop": lambda: "".join(f"let a{i}: range(10000)\n" for i in range(10_000)),
    "a larger text": lambda: "#" * 5_000_000,
    "blanks": lambda: "\t" * 4_000_000 + "a: =",
}
for name, text in TEXTS.items():
    written, start = text(), time.process_time()
    try:
        assert not is_label_map(Source(name, written))
        told = f"{len(netdef.load(written).layers)} layers"
    except netdef.CompileError as error:
        told = error.diagnostics[0].code
    # not getrusage: its maximum includes that of the process that started this one
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps([name, told, time.process_time() - start, memory]), flush=True)
"""
TOLD = {
    "numbers of a list": "too-much",
    "comments": "too-much",
    "empty lines": "empty-file",
    "strings": "unknown-field",
    "escapes": "unknown-field",
    "interpolations": "too-much",
    "sums": "too-much",
    "parentheses": "too-deep",
    "open blocks": "too-deep",
    "quotes": "value-without-field",
    "many layers": "too-much",
    "layers of unknown types": "1 layers",
    "tops in place": "wrong-count",
    "a loop": "2001 layers",
    "lists of a loop": "too-much",
    "a larger text": "too-much",
    "blanks": "stray-character",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as on Linux")
def test_every_text_ends_soon_and_in_little_memory():
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=120)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert not done.stderr, done.stderr[-1000:]
    assert {name: told for name, told, _, _ in rows} == TOLD
    assert not [row for row in rows if row[2] > SECONDS]
    assert rows[-1][3] < MEGABYTES


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.net"
    os.mkfifo(path)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.net"
    path.touch()
    os.truncate(path, 1 << 30)
    return path


def error_of(path: Path | str) -> str:
    """The message for a file; the test fails if reading it does not end."""
    told: list[str] = []

    def read() -> None:
        with pytest.raises(netdef.NetdefError) as caught:
            netdef.load(path)
        told.append(str(caught.value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert told, f"reading {path} does not end"
    return told[0]


def test_pipes_devices_and_folders(pipe: Path, tmp_path: Path):
    regular = "this is a pipe or a device; give the path of a regular file"
    assert error_of(pipe) == printable(f"{pipe}: {regular}")
    assert error_of(Path("/dev/zero")) == f"/dev/zero: {regular}"
    assert error_of(tmp_path) == printable(f"{tmp_path}: this is a folder; give the path of a file")


def test_a_large_file_is_not_read(large: Path):
    assert error_of(large) == printable(f"{large}: a file of 1024.0 MB is not a network definition; the limit is 4 MB")


def test_the_net_of_a_solver(pipe: Path, large: Path, tmp_path: Path):
    solver = tmp_path / "solver.prototxt"
    for name, words in ((pipe.name, "a pipe or a device"), (large.name, "1024.0 MB"), ("/dev/zero", "a device")):
        solver.write_text(f'net: "{name}" base_lr: 0.1 lr_policy: "fixed"')
        assert words in error_of(solver)


@pytest.mark.parametrize("command", ["check", "fmt", "expand", "deploy", "draw", "convert", "summary"])
def test_commands(command: str, pipe: Path, large: Path):
    for path, words in ((pipe, "pipe or a device"), (large, "1024.0 MB"), (Path("/dev/zero"), "pipe or a device")):
        if command == "convert" and path.suffix != ".net":
            continue
        done = subprocess.run(
            [sys.executable, "-m", "netdef", command, path], capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (1, 2) and words in done.stderr and done.stderr.count("\n") <= 2, done.stderr


def test_stdin_is_bounded():
    with open("/dev/zero", "rb") as zeros:
        done = subprocess.run([sys.executable, "-m", "netdef", "fmt"], stdin=zeros, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"a text of more than 4 MB" in done.stderr


def test_a_text_in_memory_has_the_same_limit():
    with pytest.raises(netdef.CompileError, match="limit is 4194304"):
        netdef.load("#\n" * (LARGEST // 2 + 1))


def test_paths_are_shown_on_one_line(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"a\nb\xff\x1b[1m.net")
    path.write_text("a: 1\n")
    name = Source.read(path).name
    assert name == printable(str(tmp_path)) + "/a\\nb\\udcff\\x1b[1m.net" and name.isprintable()
    done = subprocess.run([sys.executable, "-m", "netdef", "check", path, f"{path}x"], capture_output=True, timeout=60)
    assert done.returncode == 2 and b"a\\nb\\udcff\\x1b[1m.net:1:1: error" in done.stdout
    assert done.stderr.count(b"\n") == 1 and b"a\\nb\\udcff\\x1b[1m.netx" in done.stderr


@pytest.mark.parametrize("command", ["check", "fmt", "expand", "draw", "summary", "explain"])
@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_without_unicode(command: str, setting: dict[str, str], tmp_path: Path):
    path = tmp_path / "net.net"
    path.write_text('name: "Grün"  # größer\nlayer { name: "ü" type: "Input" top: "ü" fön: 1 }\n', encoding="utf-8")
    env = {**os.environ, "PYTHONCOERCECLOCALE": "0", **setting}
    word = "ReLÜ" if command == "explain" else str(path)
    done = subprocess.run([sys.executable, "-m", "netdef", command, word], env=env, capture_output=True, timeout=60)
    assert done.returncode in (0, 1, 2) and b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.stdout.isascii() and done.stderr.isascii()


def test_the_message_of_an_error_has_one_line_whatever_it_names():
    assert str(netdef.NetdefError("a\nb/\x1b[2Jé\udcff: no file")) == r"a\nb/\x1b[2Jé\udcff: no file"
    assert str(netdef.CompileError(())) == "the net has errors"
