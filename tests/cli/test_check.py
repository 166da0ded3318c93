"""`netdef check`: reports every error and warning of several files, as text or JSON, and sets the exit code."""

from __future__ import annotations

import json

import pytest

from netdef.language.errors import printable


def test_a_good_file(netdef, good):
    done = netdef("check", good)
    assert done == (0, "1 file checked: no problems\n", "")


def test_every_error_is_shown_with_its_place(netdef, bad):
    done = netdef("check", bad)
    assert done.code == 2
    lines = done.out.splitlines()
    assert printable(f"{bad}:4:85: error: Unknown field [unknown-field]") in lines
    assert any(line.startswith(printable(f"{bad}:5:")) and "[unknown-bottom]" in line for line in lines)
    assert lines[-1].startswith("1 file checked: 2 errors")


def test_errors_of_both_phases_are_reported_once(netdef, bad):
    assert netdef("check", bad).out.count("[unknown-bottom]") == 1


def test_json(netdef, bad, good):
    done = netdef("check", good, bad, "--json")
    assert done.code == 2
    told = json.loads(done.out)
    assert told["ok"] is False
    assert told["files"] == [str(good), str(bad)]
    fault = next(d for d in told["diagnostics"] if d["code"] == "unknown-field")
    assert (fault["severity"], fault["file"], fault["line"]) == ("error", str(bad), 4)
    assert {d["file"] for d in told["diagnostics"]} == {str(bad)}
    assert json.loads(netdef("check", good, "--json").out) == {
        "ok": True,
        "files": [str(good)],
        "diagnostics": [],
        "unreadable": [],
    }


def test_json_has_paths_as_they_are_and_text_has_them_on_one_line(netdef, bad, tmp_path):
    odd = tmp_path / "a\nb.net"
    odd.write_text(bad.read_text())
    assert {d["file"] for d in json.loads(netdef("check", odd, "--json").out)["diagnostics"]} == {str(odd)}
    assert printable(f"{odd}:4:") in netdef("check", odd).out
    missing = netdef("check", tmp_path / "c\nd.net").err
    assert missing == f"netdef: error: the file {printable(str(tmp_path))}/c\\nd.net does not exist\n"


def test_a_missing_file_does_not_hide_the_others(netdef, bad, tmp_path):
    done = netdef("check", tmp_path / "none.net", bad, tmp_path)
    assert done.code == 2
    assert printable(f"the file {tmp_path / 'none.net'} does not exist") in done.err
    assert printable(f"{tmp_path} is a folder") in done.err
    assert "unknown-field" in done.out


def test_no_file_at_all(netdef):
    done = netdef("check")
    assert done.code == 2 and "FILE is missing" in done.err


def test_warnings_are_errors_only_if_strict(netdef, good):
    text = good.read_text().replace('type: "InnerProduct"', 'type: "InnerProduct" pooling_param { kernel_size: 2 }')
    good.write_text(text)
    done = netdef("check", good)
    assert done.code == 0
    assert "1 file checked: 1 warning" in done.out
    assert netdef("check", good, "--strict").code == 2


def test_odd_files(netdef, tmp_path):
    cases = {"empty.net": b"", "binary.net": bytes(range(256)) * 4, "half.net": b'layer { name: "x', "nul.net": b"\0"}
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        done = netdef("check", path)
        assert done.code in (0, 2), name
        assert (done.out + done.err).strip(), name


def test_a_file_for_one_phase_is_not_blamed_for_the_other(netdef, good):
    text = good.read_text().replace('top: "y" dummy', 'top: "y" include { phase: TRAIN } dummy')
    good.write_text(text)
    assert netdef("check", good).code == 0
    assert netdef("check", good, "--phase", "TEST").code == 2


def test_phase_level_and_stage_choose_the_net(netdef, good):
    good.write_text(good.read_text().replace('type: "InnerProduct"', 'type: "InnerProduct" include { stage: "on" }'))
    assert netdef("check", good).code == 2
    assert netdef("check", good, "--stage", "on").code == 0


def test_caffes_flags(netdef, good):
    assert netdef("check", "-model", good, "-gpu", "0").code == 0


def test_plugin(netdef, good, tmp_path, monkeypatch):
    good.write_text(
        good.read_text().replace('"InnerProduct"', '"DoubledForThisTest"').replace("inner_product", "doubled")
    )
    (tmp_path / "doubled_plugin.py").write_text(
        "import netdef\n"
        'class Doubled(netdef.Layer, type="DoubledForThisTest", block="doubled_param"):\n'
        '    """y = 2 x."""\n'
        '    num_output: int = netdef.param("Any number.")\n'
        "    def infer(self, x): return x\n"
    )
    monkeypatch.chdir(tmp_path)
    assert netdef("check", good).code == 2
    assert netdef("check", good, "--plugin", "doubled_plugin").code == 0
    done = netdef("check", good, "--plugin", "no_such_module")
    assert done.code == 2 and "no_such_module" in done.err


@pytest.mark.parametrize("command", ["check", "train", "lsp"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import netdef\n\n1 / 0", "at PATH:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('no license')", "at PATH:2: SystemExit: no license"),
        ("raise KeyError", "at PATH:1: KeyError"),
        ("import not_there_at_all", "at PATH:1: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("class A(:", "at PATH:1: SyntaxError: invalid syntax"),
        ("raise ValueError('one\\ntwo')", "at PATH:1: ValueError: one"),
    ],
)
def test_a_plugin_that_fails_is_one_error(netdef, good, tmp_path, monkeypatch, command, text, words):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "failing_plugin.py"
    path.write_text(text)
    done = netdef(command, *([] if command == "lsp" else [good]), "--plugin", "failing_plugin")
    expected = (
        f"netdef: error: --plugin failing_plugin: its import failed {words.replace('PATH', printable(str(path)))}\n"
    )
    assert (done.code, done.err) == (2, expected)


def test_set_needs_a_value(netdef, good):
    done = netdef("check", good, "--set", "width")
    assert done.code == 2
    assert "--set expects KEY=VALUE" in done.err
