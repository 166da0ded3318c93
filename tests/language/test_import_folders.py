"""Imports stay in the folder of the file, the working directory, the library and the folders that the user allows."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdef
from netdef.cli import main
from netdef.language.errors import printable
from netdef.language.source import Source
from netdef.language.syntax import Import
from netdef.language.trust import Trust
from netdef.lsp.answers import complete
from netdef.lsp.names import definition
from netdef.lsp.page import read
from netdef.sweep.sweep import sweep

NET = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: ${width} dim: 2 } } }\n'


@pytest.fixture
def place(tmp_path, monkeypatch):
    """`project/nets`, where nets are; `project`, with `common/width.net`; and `other`, which is outside."""
    for name in ("project/nets", "project/common", "other", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project/common/width.net").write_text("let width: 3\n")
    (tmp_path / "other/width.net").write_text("let width: 5\n")
    (tmp_path / "other/secret").write_text("password: hunter2\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def net(place: Path, name: str) -> Path:
    path = place / "project/nets/model.net"
    path.write_text(f'import "{name}"\n{NET}')
    return path


def refused(path: Path, **options) -> str:
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(path, **options)
    (error,) = caught.value.diagnostics
    assert (error.code, error.line) == ("bad-import", 1)
    return f"{error.detail} {error.hint}"


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_outside_is_not_opened(place, absolute, capsys):
    path = net(place, printable(str(place / "other/secret")) if absolute else "../../other/secret")
    said = refused(path)
    assert "is outside the folders from which this file may import: " in said
    assert f"{path.parent}, {place / 'elsewhere'} and std/" in said and "--import-path FOLDER" in said
    assert main(["check", str(path)]) == 2
    shown = capsys.readouterr().out
    assert "hunter2" not in shown and "password" not in shown


def test_the_error_does_not_say_whether_the_file_exists(place):
    there, missing = refused(net(place, "../../other/secret")), refused(net(place, "../../other/nobody"))
    assert there.replace("secret", "nobody") == missing


def test_a_link_that_leads_outside_is_not_followed(place):
    (place / "project/nets/inner.net").symlink_to(place / "other/width.net")
    assert "`inner.net` is outside the folders" in refused(net(place, "inner.net"))


def test_imports_may_go_up_inside_the_working_directory(place, monkeypatch):
    path = net(place, "../common/width.net")
    assert "is outside the folders" in refused(path)
    monkeypatch.chdir(place / "project")
    assert netdef.load(path).blobs["x"].shape == (3, 2)
    assert netdef.load("nets/model.net").blobs["x"].shape == (3, 2)


def test_an_imported_file_may_not_leave_the_folders_either(place, monkeypatch):
    monkeypatch.chdir(place / "project")
    (place / "project/common/more.net").write_text('import "../../other/width.net"\n')
    with pytest.raises(netdef.CompileError, match="is outside the folders"):
        netdef.load(net(place, "../common/more.net"))


def test_the_root_of_the_file_system_does_not_allow_every_file(place, monkeypatch):
    monkeypatch.chdir("/")
    assert "is outside the folders" in refused(net(place, "../../other/width.net"))


def test_a_name_that_no_file_can_have(place):
    assert "was not found" in refused(net(place, "\\000"))


@pytest.mark.parametrize("name", ["../../other/width.net", "width.net"])
def test_import_path_allows_a_folder_and_is_searched(place, name):
    path = net(place, name)
    refused(path)
    assert netdef.load(path, import_path=[place / "other"]).blobs["x"].shape == (5, 2)
    assert netdef.deploy(net(place, name), outputs=["x"], import_path=[place / "other"]) is not None
    assert netdef.compile(path, import_path=[place / "other"]).net.blobs["x"].shape == (5, 2)
    assert f"nor in {place}" in refused(net(place, "nobody.net"), import_path=[place])


@pytest.mark.parametrize("command", ["check", "summary", "expand", "draw", "deploy --output x", "time --iterations 1"])
def test_commands_have_the_option(place, command, capsys):
    path = net(place, "../../other/width.net").as_posix()
    word, *more = command.split()
    assert main([word, path, *more]) == 2
    code = main([word, path, *more, "--import-path", str(place / "common"), "--import-path", str(place / "other")])
    assert code == 2 and "common does not exist" in capsys.readouterr().err
    code = main([word, path, *more, "--import-path", str(place / "elsewhere"), "--import-path", str(place / "other")])
    assert code == 0, capsys.readouterr().err


def test_training_and_sweeps_have_it(place):
    path = net(place, "../../other/width.net")
    path.write_text(
        'import "../../other/width.net"\n'
        'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: ${width} dim: 2 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }\n'
        "solver { base_lr: 0.1 max_iter: 1 }\n"
    )
    folders = [place / "other"]
    assert netdef.train(path, output="run", import_path=folders).iteration == 1
    assert len(sweep(path, {"solver.base_lr": [0.1]}, output="swept", import_path=folders).rows) == 1
    assert main(["train", str(path), "--output", "again", "--import-path", str(place / "other")]) == 0


def test_an_editor_opens_no_file_outside(place):
    path = net(place, "../../other/width.net")
    text = path.read_text()
    source = Source(str(path), text, path)
    closed, opened = read(source), read(source, Trust(folders=(place / "other",)))
    assert [d.code for d in closed.diagnostics] == ["bad-import"] and not opened.diagnostics
    (statement,) = [item for item in closed.document.body.fields if isinstance(item, Import)]
    for page, seen in ((closed, False), (opened, True)):
        assert bool(definition(page, statement.path_span.start + 3)) is seen
        _, items = complete(page, text, text.index("${width") + 4)
        assert any(item.label == "width" for item in items) is seen


SOLVER = 'net: "{}"\nbase_lr: 0.1\nlr_policy: "fixed"\nmax_iter: 1\n'


@pytest.mark.parametrize("work", ["check", "train"])
def test_lines_of_a_file_that_a_solver_calls_its_net_are_not_shown(place, work, capsys):
    """The `net` of a solver may be any file, as in Caffe."""
    path = place / "project/solver.prototxt"
    path.write_text(SOLVER.format("../other/secret"))
    assert main([work, str(path)]) == 2
    done = capsys.readouterr()
    assert "hunter2" not in done.out + done.err and "password" not in done.out + done.err
    assert "secret: the solver" in done.err and "names this file as its net" in done.err


def test_a_solver_may_name_a_net_by_any_name(place, capsys):
    (place / "other/net.txt").write_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }')
    path = place / "project/solver.prototxt"
    path.write_text(SOLVER.format("../other/net.txt"))
    assert netdef.load(path).blobs["x"].shape == (2,)
