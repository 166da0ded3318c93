"""The pages in headless Chromium: what their scripts draw."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest

from netdef import load
from netdef.compiler import load_phases
from netdef.inspect import draw
from netdef.view.alone import alone
from netdef.view.net_page import net_page
from netdef.view.server import listening, server_of
from netdef.view.subjects import FileSubject, FolderSubject, RunSubject, Subject

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
pytest.importorskip("uvicorn")
EVIL = "<img src=x onerror=alert(1)>"
BOXES = "document.querySelectorAll('.box').length"
TITLES = "[...document.querySelectorAll('.box .title')].map((node) => node.textContent)"
PANEL = "document.getElementById('panel').innerText"


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Page]:
    with chromium.browser() as page:
        yield page


@pytest.fixture
def page(tab: chromium.Page) -> Iterator[chromium.Page]:
    """A tab whose scripts must not fail."""
    tab.errors.clear()
    yield tab
    assert tab.errors == []


@pytest.fixture
def served():
    """Serves a subject, and returns the address of its page."""
    running = []

    def serve(subject: Subject) -> str:
        at = listening(None)
        server = server_of(subject)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        running.append((server, thread, at))
        return f"http://127.0.0.1:{at.getsockname()[1]}/"

    yield serve
    for server, thread, at in running:
        server.should_exit = True
        thread.join(20)
        at.close()
        assert not thread.is_alive()


@pytest.fixture
def shown(page: chromium.Page, tmp_path: Path):
    """Opens the page of a net as one file."""

    def show(text: str, **options: int) -> chromium.Page:
        path = tmp_path / "page.html"
        path.write_text(alone(net_page("n.net", load_phases(text))))
        page.open(path.as_uri(), **options)
        page.until(f"{BOXES} > 0")
        return page

    return show


def click(page: chromium.Page, title: str, part: str = "") -> None:
    """Clicks the box with a title, or a part of it."""
    wanted = f"box.querySelector('.title')?.textContent === {json.dumps(title)}"
    found = f"[...document.querySelectorAll('.box')].find((box) => {wanted})"
    target = f"{found}.querySelector({json.dumps(part)})" if part else found
    page.run(f"{target}.dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")


def test_a_layer_is_explained(shown, net: Path):
    page = shown(net.read_text())
    assert page.run(TITLES) == ["d", "c", "ip", "loss"]
    click(page, "c")
    words = page.run(PANEL)
    for said in ("Convolution", "4x3x8x8", "6x3x3x3", "168", "num_output", "<text>:5", "ReLU"):
        assert said in words, said
    assert page.run("document.querySelectorAll('.box.selected').length") == 1
    page.run("document.querySelector('#panel .back button').click()")
    assert "No problems" in page.run(PANEL)


def test_names_are_text(shown):
    page = shown(
        f'name: "{EVIL}" layer {{ name: "{EVIL}" type: "Input" top: "{EVIL}" input_param {{ shape {{ dim: 2 }} }} }}'
    )
    click(page, EVIL)
    assert EVIL in page.run(PANEL) and page.run("document.title").startswith(EVIL)
    assert page.run("document.querySelectorAll('img, svg foreignObject').length") == 0


def test_frames_fold_as_in_other_formats(shown, stages: str):
    page = shown(stages)
    net = load(stages)
    page.run("const shownDiagram = JSON.parse(document.getElementById('data').textContent).diagrams[0]")
    for depth, names in ((0, ["all"]), (1, ["residual_basic"]), (9, [])):
        found = page.run(f"fold.visible(shownDiagram, fold.atDepth(shownDiagram, {depth})).boxes.map((b) => b.title)")
        drawn = draw.picture(net, names)
        assert [title.replace("×", "x") for title in found] == [box.title for box in drawn.boxes]
    assert page.run(TITLES)[-1] == "res2e"  # small enough to be drawn whole
    fold = "[...document.querySelectorAll('.tools button')].find((b) => b.textContent === '{}').click()"
    page.run(fold.format("Fold"))
    page.until(f"{BOXES} === 3")
    assert page.run(TITLES)[1:] == ["residual_basic res2a", "4 × residual_basic"]
    click(page, "4 × residual_basic", ".handle")
    page.until(f"{BOXES} === 6")
    click(page, "residual_basic res2b", ".handle")
    page.until(f"{BOXES} === 8")
    page.run("document.querySelector('.frame-title').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    page.until(f"{BOXES} === 2")


def test_layers_are_searched(shown, stages: str):
    page = shown(stages)
    page.run(
        "const field = document.getElementById('search'); field.value = 'eltwise';"
        "field.dispatchEvent(new Event('input'))"
    )
    assert page.run("document.getElementById('hits').textContent") == "5 found"
    assert page.run("document.querySelectorAll('.box.hit').length") == 5
    page.run("field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))")
    assert page.run("document.getElementById('hits').textContent") == "1 of 5"
    assert "Eltwise" in page.run(PANEL)


@pytest.mark.parametrize("dark", [False, True])
def test_colors_and_a_narrow_screen(page: chromium.Page, served, net: Path, a_run, dark: bool):
    folder = a_run("runs/a").parent
    for subject, wait in (
        (FileSubject(net), f"{BOXES} > 0"),
        (RunSubject(folder / "a"), "document.querySelectorAll('canvas').length === 4"),
        (FolderSubject(folder), "document.querySelectorAll('canvas').length > 1"),
    ):
        page.open(served(subject), width=400, height=800, dark=dark)
        page.until(wait)
        assert page.run("document.documentElement.scrollWidth") <= 400
        paper = page.run("getComputedStyle(document.documentElement).backgroundColor")
        assert paper == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
        page.run("new Promise((done) => setTimeout(done, 50))")


def test_a_net_is_drawn_again_when_its_file_is_saved(page: chromium.Page, served, net: Path):
    page.open(served(FileSubject(net)))
    page.until(f"{BOXES} === 4")
    click(page, "ip")
    good = net.read_text()
    net.write_text(good.replace("num_output: 2", "num_outputs: 2"))
    banner = "document.getElementById('banner').textContent"
    page.until(f"{banner}.includes('last version without errors')")
    assert page.run(BOXES) == 4 and "1 error" in page.run(PANEL)
    net.write_text(good.replace("num_output: 2", "num_output: 9"))
    page.until(f"{PANEL}.includes('4x9')")  # of the layer that was chosen before
    assert page.run(banner) == "" and "0 errors" not in page.run(PANEL)


def test_a_file_with_errors_is_shown_with_its_errors(page: chromium.Page, served, net: Path):
    net.write_text(net.read_text().replace('bottom: "y"', f'bottom: "{EVIL}"'))
    page.open(served(FileSubject(net)))
    page.until("document.querySelectorAll('.fault.error').length === 1")
    assert page.run("document.querySelector('mark').textContent") == f'"{EVIL}"'
    page.until(f"{BOXES} === 4")
    assert page.run("[...document.querySelectorAll('.box.error .title')].map((node) => node.textContent)") == ["loss"]
    assert "what can be read" in page.run("document.getElementById('banner').textContent")
    net.write_text("layer")
    page.until(f"{PANEL}.includes('1 error') && document.getElementById('net').classList.contains('empty')")


def test_curves_continue_while_a_run_trains(page: chromium.Page, served, a_run):
    folder = a_run("runs/a", ended=None)
    page.open(served(RunSubject(folder)))
    page.until("document.querySelectorAll('canvas').length === 4")
    assert "90 of 90 iterations" in page.run("document.body.innerText")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 123, "phase": "train", "loss": 0.1}\n')
    page.until("document.body.innerText.includes('123 of 90 iterations')")


def test_runs_are_compared(page: chromium.Page, served, a_run):
    folder = a_run(f"runs/{EVIL.replace('/', '')}", width=8).parent
    a_run("runs/b", width=16)
    page.open(served(FolderSubject(folder)))
    page.until(
        "document.querySelectorAll('.u-legend .u-series').length === 9"
    )  # three charts of iteration and two runs
    page.run("document.querySelector('input[type=checkbox]').click()")
    page.until("document.querySelectorAll('.u-legend .u-series').length === 6")
    page.run("[...document.querySelectorAll('a')].find((a) => a.textContent.startsWith('<img')).click()")
    page.until("document.getElementById('title').textContent.startsWith('<img')")
    page.run("document.getElementById('up').click()")
    page.until("document.querySelectorAll('.runs tbody tr').length === 2")
