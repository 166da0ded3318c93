"""The function `classes` of expressions: the subfolders of a folder, found as the data of the net is."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdef
from netdef.language.diagnostics import Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source

NET = 'let people: classes("photos")\nnum_output: ${people}\n'


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three people, beside the net and not in the working directory."""
    for name in ("ann", "bob", "cleo", ".hidden"):
        (tmp_path / "nets" / "photos" / name).mkdir(parents=True)
    (tmp_path / "nets" / "photos" / "readme.txt").write_text("no class")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "nets" / "photos"


def outcome(text: str, path: Path, **settings: object) -> tuple[str, Report]:
    report = Report()
    document = parse(Source("net.net", text, path), report)
    return print_message(expand(document, report, settings=settings).body) if document else "", report


def test_subfolders_beside_the_net_are_counted(photos: Path):
    assert outcome(NET, photos.parent / "net.net")[0] == "num_output: 3\n"


def test_the_working_directory_is_searched_too(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(photos.parent)
    assert outcome(NET, tmp_path / "net.net")[0] == "num_output: 3\n"


def test_paths_in_an_imported_template_are_those_of_the_net(photos: Path):
    (photos.parent / "lib").mkdir()
    (photos.parent / "lib" / "t.net").write_text("template t(folder) { num_output: ${classes(folder)} }\n")
    (photos.parent / "net.net").write_text("")
    text = 'import "lib/t.net"\nt { folder: "photos" }\n'
    assert outcome(text, photos.parent / "net.net")[0] == "num_output: 3\n"


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ('"nowhere"', "No such file or directory"),
        ('"photos/ann"', "has no subfolders"),
        ('"photos/readme.txt"', "Not a directory"),
        ('"\\000"', "the path is not valid"),
        ('""', "expects the path of a folder"),
        ("3", "expects the path of a folder"),
        ('"photos", 1', "expects the path of a folder"),
        ('"' + "x" * 5000 + '"', "File name too long"),
    ],
)
def test_a_folder_that_cannot_be_counted_is_an_error_without_names(photos: Path, folder: str, words: str):
    _, report = outcome(f"n: ${{classes({folder})}}\n", photos.parent / "net.net")
    (found,) = report.diagnostics
    assert found.code == "bad-call" and words in found.message
    assert not any(name in found.message for name in ("ann,", "bob", "cleo"))


def test_a_number_that_is_set_needs_no_folder(photos: Path):
    photos.rename(photos.with_name("moved"))
    text, report = outcome(NET, photos.parent / "net.net", people="40")
    assert text == "num_output: 40\n" and not report.diagnostics
    _, report = outcome(NET, photos.parent / "net.net", people="4_0")
    assert [d.code for d in report.diagnostics] == ["bad-number"]
    _, report = outcome(NET, photos.parent / "net.net")
    assert len(report.diagnostics) == 1 and "--set" in (report.diagnostics[0].hint or "")


def test_a_file_reads_few_folders(photos: Path):
    _, report = outcome('for i in range(1000) { n: ${classes("photos")} }\n', photos.parent / "net.net")
    assert {d.code for d in report.diagnostics} == {"too-much"}


def test_the_examples_follow_the_data(photos: Path):
    image = pytest.importorskip("PIL.Image")
    for name in ("ann", "bob", "cleo"):
        image.new("L", (60, 60)).save(photos / name / "1.png")
        image.new("L", (60, 60)).save(photos / name / "2.png")
    examples = Path(netdef.__file__).parents[1] / "examples"
    for name in ("face.net", "face_bn.net"):
        assert netdef.load(examples / name, set={"faces": str(photos)}).blobs["person"].shape == (40, 3)
        assert netdef.load(examples / name).blobs["person"].shape == (64, 14700)
        few = netdef.load(examples / name, set={"faces": str(photos), "people": 2})
        many = netdef.load(examples / name, set={"faces": str(photos), "people": 7})
        near = netdef.load(examples / name, set={"faces": str(photos), "people": 6})
        for net, count in ((few, 1), (many, 1), (near, 0)):
            assert [d.code for d in net.diagnostics].count("class-count") == count
