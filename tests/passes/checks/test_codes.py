"""The examples of each code: `netdef check` reports the code for `wrong` and nothing for `right`."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdef.cli import main
from netdef.language import codes
from netdef.language.diagnostics import Code

OF_LANGUAGE = codes.catalogue(codes.syntax, codes.expansion)
CODES = [code for code in codes.catalogue().values() if code.name not in OF_LANGUAGE]


def test_every_code_is_of_one_stage():
    named = [name for stage in codes.STAGES for name in codes.catalogue(stage)]
    assert len(named) == len(set(named)) == len(codes.catalogue()) > 70
    constants = {id(value) for value in vars(codes).values() if isinstance(value, Code)}
    assert constants == {id(code) for code in codes.catalogue().values()}, "two stages have a constant of one name"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the data that the examples name: 20 images, and images of 3 people."""
    images = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("faces")
    images.new("RGB", (8, 8)).save(folder / "face.png")
    (folder / "faces.txt").write_text("".join(f"face.png {i % 2}\n" for i in range(20)))
    for name in ("ann", "bob", "cleo"):
        (folder / "people" / name).mkdir(parents=True)
        images.new("RGB", (8, 8)).save(folder / "people" / name / "1.png")
    return folder


def check(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (folder / "net.net").write_text(text)
    capsys.readouterr()
    code = main(["check", str(folder / "net.net")])
    return code, capsys.readouterr().out


def test_every_code_has_a_wrong_and_a_right_example():
    assert all(code.wrong and code.right and code.why for code in codes.catalogue().values())


@pytest.mark.parametrize("code", CODES, ids=[code.name for code in CODES])
def test_examples_of_codes(code: Code, folder: Path, capsys: pytest.CaptureFixture[str]):
    status, out = check(code.wrong, folder, capsys)
    assert f"[{code.name}]" in out
    assert status == (2 if code.severity == "error" else 0)
    assert f"[{code.name}]" not in check(code.right, folder, capsys)[1]


@pytest.mark.parametrize("code", [c for c in CODES if c.severity == "warning"], ids=lambda c: c.name)
def test_nothing_is_wrong_with_right_examples(code: Code, folder: Path, capsys: pytest.CaptureFixture[str]):
    status, out = check(code.right, folder, capsys)
    assert (status, out) == (0, "1 file checked: no problems\n")


def test_strict_lets_warnings_fail(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "net.net").write_text(codes.ZERO_WEIGHTS.wrong)
    assert main(["check", "--strict", str(folder / "net.net")]) == 2
