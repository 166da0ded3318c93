"""Options, markers and fixtures for all tests.

--update-goldens        write the golden files instead of comparing; review the diff afterwards
--whole-corpus          read all real Caffe files, not a sample
@pytest.mark.chunks(F)  runs a test once for each chunk of tests/corpus/F, with the argument `chunk`
golden(name, text)      compares `text` with the file `golden/<name>` next to the test
corpus                  the folder of real Caffe files, ../shared/corpus; the test is skipped if it does not exist
    corpus_rows             its index: one dict for each file
"""

from __future__ import annotations

import csv
import re
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
CORPUS = TESTS.parents[1] / "shared" / "corpus"


def pytest_addoption(parser):
    parser.addoption("--update-goldens", action="store_true", help="write the golden files instead of comparing")
    parser.addoption("--whole-corpus", action="store_true", help="read all real Caffe files, not a sample")


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a script sets it for what it starts in the background; a program that a test starts would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "chunks(file): run once for each chunk of tests/corpus/file, with the argument `chunk`"
    )


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("chunks")
    if marker:
        chunks = read_chunks(TESTS / "corpus" / marker.args[0])
        metafunc.parametrize("chunk", chunks, ids=[chunk.title for chunk in chunks])


@pytest.fixture
def golden(request):
    folder = Path(request.path).parent / "golden"

    def compare(name: str, text: str) -> None:
        path = folder / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"there is no golden file {path.name}; run pytest with --update-goldens and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip("the corpus of real Caffe files is not next to the checkout")
    return CORPUS


@pytest.fixture(scope="session")
def corpus_rows(corpus, request) -> list[dict[str, str]]:
    with (corpus / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if request.config.getoption("--whole-corpus"):
        return rows
    return [
        row for at, row in enumerate(rows) if int(row["size"]) < 15_000 or "malformed" in row["class"] or at % 20 == 0
    ]


class Expected(NamedTuple):
    """A diagnostic that a chunk expects: from (line, column) to (line, column), and a part of its text."""

    code: str
    start: tuple[int, int]
    end: tuple[int, int]
    words: str


class Chunk(NamedTuple):
    """One case of a corpus file: the text without marks, and the diagnostics expected for it."""

    title: str
    text: str
    expected: list[Expected]


MARK = re.compile(r"^( *)(\^+)(?: (\d+):(\d+))? ([a-z-]+)(?:: (.*))?$")


def read_chunks(path: Path) -> list[Chunk]:
    """Reads the chunks of a file.

    A chunk begins with `--- title`.  A line with an error is followed by a mark, which is removed from the text:
        ^^^^ unknown-field: part of the message or hint
    If the range ends on another line, the mark has its end: `^ 5:2 unclosed-block`.
    """
    chunks = []
    for part in re.split(r"^--- ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        lines: list[str] = []
        expected = []
        for line in body.splitlines(keepends=True):
            mark = MARK.match(line.rstrip("\n"))
            if not mark:
                lines.append(line)
                continue
            blanks, carets, end_line, end_column, code, words = mark.groups()
            start = (len(lines), len(blanks) + 1)
            end = (int(end_line), int(end_column)) if end_line else (len(lines), start[1] + len(carets))
            expected.append(Expected(code, start, end, words or ""))
        chunks.append(Chunk(title, "".join(lines), expected))
    return chunks
