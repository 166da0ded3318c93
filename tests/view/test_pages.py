"""The pages as values: of nets, of runs and of folders."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from netdef.compiler import load_phases
from netdef.language.errors import NetdefError
from netdef.observe.facts import Confusion
from netdef.observe.worst import Worst
from netdef.view.folder_page import curves_of, folder_page
from netdef.view.net_page import NetPage, net_page
from netdef.view.run_page import MOST_POINTS, judged_page, run_page, thinned
from netdef.view.server import written
from netdef.view.subjects import FileSubject, FolderSubject, RunSubject


def page_of(text: str) -> NetPage:
    return net_page("n.net", load_phases(text))


def test_a_layer_has_shapes_fields_source_and_an_explanation(net: Path):
    page = net_page(str(net), load_phases(str(net)))
    (diagram, _) = page.diagrams
    assert (page.title, diagram.phase, page.faults) == ("Small", "TRAIN", ())
    layer = diagram.layers[1]
    assert [(fact.name, fact.value) for fact in layer.tops] == [("c", "4x6x6x6")]
    assert layer.weights == ("6x3x3x3", "6")
    fields = {fact.name: fact.value for fact in layer.fields}
    assert fields == {"num_output": "6", "kernel_size": "3", "weight_filler": "xavier"}
    assert ("parameters", "168") in [(fact.name, fact.value) for fact in layer.facts]
    (place,) = layer.places
    assert (place.file, place.line) == (str(net), 5) and place.text.startswith('layer { name: "c"')
    assert page.types["Convolution"].summary and page.types["Convolution"].fields
    boxes = {box.title: box.names for box in diagram.boxes}
    assert boxes["c"] == ("c", "relu") and set(boxes) == {"d", "c", "ip", "loss"}


def test_a_layer_of_a_template_has_the_places_of_its_uses(stages: str):
    diagram = page_of(stages).diagrams[0]
    places = diagram.layers[1].places
    assert places[0].file in ("std/conv.net", "std/resnet.net")
    assert (places[-1].file, places[-1].line) == ("<text>", 5) and "residual_stage {" in places[-1].text
    inside = {frame.title: frame.inside for frame in diagram.frames}
    assert inside["residual_stage res2"] == "" and inside["residual_basic res2b"] != ""


def test_an_error_has_its_marked_source_and_its_layer():
    page = page_of('layer { name: "a" type: "Power" bottom: "z" top: "a" }\nlayer { name: "b" type: "Pwer" top: "b" }')
    assert page.partial and [box.title for box in page.diagrams[0].boxes] == ["a", "b"]
    first = next(fault for fault in page.faults if "`z`" in fault.detail)
    (mark,) = first.marks
    assert (mark.where, mark.marked, first.layers) == ("<text>:1:41", '"z"', ("a",))
    assert mark.before + mark.marked + mark.after == 'layer { name: "a" type: "Power" bottom: "z" top: "a" }'


def test_long_lines_are_cut_around_the_mark():
    page = page_of("x" * 500 + ": 1 " + "y" * 500 + ": 1")
    mark = page.faults[0].marks[0]
    assert len(mark.before) + len(mark.marked) + len(mark.after) < 400


def test_pages_are_json_without_nan(net: Path, a_run):
    folder = a_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 99, "phase": "train", "loss": "nan", "seconds": 9.0}\n')
    for page in (net_page(str(net), load_phases(str(net))), run_page(folder), folder_page(folder.parent)):
        assert json.loads(written(page))["kind"] in ("net", "run", "folder")
    assert json.loads(written(run_page(folder)))["charts"][0]["lines"][0]["values"][-1] is None


def test_a_file_keeps_its_last_diagram_while_it_has_errors(net: Path):
    subject = FileSubject(net)
    good, version = subject.page(), subject.version()
    assert good.drawn and not good.stale
    assert subject.page() is subject.page()  # it is read when the file has changed only
    text = net.read_text()
    net.write_text(text.replace("num_output: 6", "num_outputs: 6"))
    assert subject.version() != version
    broken = subject.page()
    assert broken.stale and broken.diagrams == good.diagrams and "num_outputs" in broken.faults[0].detail
    net.unlink()
    gone = subject.page()
    assert gone.stale and "file not found" in gone.error
    net.write_text(text.replace("num_output: 6", "num_output: 7"))
    mended = subject.page()
    assert not mended.stale and not mended.error and mended.diagrams[0].layers[1].tops[0].value == "4x7x6x6"


BROKEN = {  # an error, its replacement, and the layer with it
    "no colon": ("num_output: 6", "num_output 6", "c"),
    "open string": ('top: "ip" inner', 'top: "ip inner', "ip"),
    "open block": ("kernel_size: 3 weight", "kernel_size: 3 } weight", "c"),
    "unknown type": ('"ReLU"', '"RELLU"', "relu"),
    "wrong value": ("num_output: 2", "num_output: -2", "ip"),
    "wrong constant": ("num_output: 2", "num_output: ${two}", "ip"),
    "blob without a layer": ('bottom: "ip"', 'bottom: "pi"', "loss"),
    "shapes": ("kernel_size: 3", "kernel_size: 30", "c"),
}


@pytest.mark.parametrize("good, bad, name", BROKEN.values(), ids=BROKEN)
def test_what_can_be_read_of_a_file_with_an_error_is_drawn(net: Path, good: str, bad: str, name: str):
    net.write_text(net.read_text().replace(good, bad))
    page = FileSubject(net).page()
    assert page.partial and not page.stale and [d.phase for d in page.diagrams] == ["TRAIN", "TEST"]
    layers = {layer.name: layer for layer in page.diagrams[0].layers}
    assert list(layers) == ["d", "c", "relu", "ip", "loss"]
    assert {name for fault in page.faults for name in fault.layers} == {name}
    assert layers["d"].tops[0].value == "4x3x8x8"
    json.loads(written(page))


def test_a_block_that_is_never_closed_loses_no_other_layer(net: Path):
    good = net.read_text()
    net.write_text(good.replace("num_output: 2 } }", "num_output: 2 }"))
    page = FileSubject(net).page()
    assert page.partial and len(page.diagrams[0].layers) == 5 and "ip" in page.faults[0].layers
    net.write_text(
        good.replace('bottom: "c" top: "c" }', 'bottom: "c" top: "c"').replace("num_output: 2", "num_output 2")
    )
    page = FileSubject(net).page()
    assert len(page.diagrams[0].layers) == 5


def test_the_net_of_a_solver_is_drawn_if_it_is_broken(net: Path):
    solver = net.with_name("solver.prototxt")
    solver.write_text('net: "small.net"\nbase_lr: 0.1\nmax_iter: 10\n')
    net.write_text(net.read_text().replace('type: "ReLU"', "type 2"))
    assert len(FileSubject(solver).page().diagrams[0].layers) == 5
    solver.write_text('net: "solver.prototxt"\nnet: 3\n')
    assert not FileSubject(solver).page().drawn


def test_damaged_files_have_a_page(net: Path):
    """Any part of a file may be missing while it is edited."""
    text, where = net.read_text(), random.Random(3)
    for _ in range(150):
        start = where.randrange(len(text))
        end = start + where.choice((1, 3, 40))
        net.write_text(text[:start] + where.choice(("", '"', "{", "}", "$")) + text[end:])
        page = FileSubject(net).page()
        assert page.drawn and json.loads(written(page))["kind"] == "net"


def test_a_change_of_an_imported_file_is_noticed(tmp_path: Path):
    (tmp_path / "part.net").write_text('template t { n bottom top } { layer { name: "${n}" type: "Power" } }')
    part = 'template gate(name, bottom) {\n  layer { name: "${name}" type: "Power" bottom: "${bottom}" top: "${name}" }\n}\n'
    (tmp_path / "part.net").write_text(part)
    main = tmp_path / "main.net"
    head = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
    main.write_text(f'import "part.net"\n{head}\ngate {{ name: "g" bottom: "x" }}\n')
    subject = FileSubject(main)
    first = subject.page()
    assert first.drawn, first.faults
    assert first.diagrams[0].layers[1].type == "Power"
    (tmp_path / "part.net").write_text(part.replace('"Power"', '"AbsVal"'))
    assert subject.page().diagrams[0].layers[1].type == "AbsVal"


def test_the_page_of_a_run(a_run):
    page = run_page(a_run(width=8))
    assert (page.title, page.state, page.iterations, page.max_iter) == ("Small", "finished", 90, 90)
    assert [(fact.name, fact.value) for fact in page.settings] == [("width", "8")]
    assert [chart.title for chart in page.charts] == ["Loss", "Scores", "Learning rate", "Images per second"]
    assert [(line.name, line.test) for line in page.charts[0].lines] == [("train loss", False), ("test loss", True)]
    assert ("processor", "Z80") in [(fact.name, fact.value) for fact in page.sittings[0]]
    assert {score.name: (score.best, score.at) for score in page.scores}["test accuracy"] == ("0.9", "90")
    assert ("training time", "5.0 s") in [(card.name, card.value) for card in page.cards]


def test_a_run_without_records_has_a_page(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text("")
    page = run_page(tmp_path)
    assert (page.charts, page.state, page.snapshot) == ((), "unknown", "") and "no records yet" in page.notes[0]


def test_long_curves_are_thinned():
    values = tuple(map(float, range(10 * MOST_POINTS + 7)))
    assert len(thinned(values)) <= MOST_POINTS and thinned(values)[-1] == values[-1]
    assert thinned(values[:MOST_POINTS]) == values[:MOST_POINTS]


def test_the_page_of_a_folder(a_run):
    a_run("runs/a", width=8, depth=2)
    folder = a_run("runs/deep/b", ended=None, width=16, depth=2).parents[1]
    page = folder_page(folder)
    rows = {row.name: row for row in page.runs}
    assert {name: row.state for name, row in rows.items()} == {"a": "finished", "deep/b": "died"}
    assert [(fact.name, fact.value) for fact in rows["deep/b"].settings] == [("width", "16")]
    subject = FolderSubject(folder)
    assert subject.run("deep/b") is subject.run("deep/b") is not None
    assert subject.run("../runs/a") is None and subject.run("") is None
    lines = curves_of({"a": folder / "a"}, ["a", "a", "x"])
    assert [found.run for found in lines] == ["a"] and len(lines[0].lines) == 5


def test_an_empty_folder_has_a_page(tmp_path: Path):
    assert folder_page(tmp_path).runs == ()
    with pytest.raises(NetdefError, match="does not exist"):
        folder_page(tmp_path / "no")


def test_the_version_of_a_run_changes_with_its_records(a_run):
    folder = a_run()
    run, all_runs = RunSubject(folder), FolderSubject(folder.parent)
    before = run.version(), all_runs.version()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 100, "phase": "train", "loss": 0.1}\n')
    os.utime(folder / "metrics.jsonl", ns=(1, 1))
    assert run.version() != before[0] and all_runs.version() != before[1]


def test_a_run_without_a_net_says_so(a_run):
    run = RunSubject(a_run())
    assert "no copy of the net" in run.net().error
    assert run.judge(started=True) == {"working": "", "tested": "", "judged": None}  # it has no snapshot


def test_a_confusion_matrix_as_a_page():
    found = Confusion(("cat", "dog"), ((3, 1), (0, 4)), "iter_1", (Worst(b"png", "record 1: cat"),))
    page = judged_page(found, ["a note"])
    assert page.words == "7 of 8 records (87.50%) are classified correctly." and page.notes == ("a note",)
    assert page.mistakes[0].image == "data:image/png;base64,cG5n"
    assert judged_page(None, ["why"]).notes == ("why",)
