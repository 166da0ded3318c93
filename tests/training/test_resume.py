"""Snapshots store each array once under a name, for any layer name; missing fields get initial values, and mismatches
are reported.  Runs can be resumed from snapshots of format 1, which number their arrays.

tests/golden/snapshots was recorded by the code that wrote format 1: two runs of the small net of 20 iterations, the
snapshot at 10, and in the .npz the weights at the end, the weights that were read from the snapshot, and its histories
as a `.solverstate`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef import NetdefError
from netdef.cli import main
from netdef.interop import read_weights, snapshot
from netdef.interop.solver_state import export_snapshot, read_state
from netdef.lazy import jnp
from netdef.solvers.base import SOLVERS, Solver
from netdef.training import events as ev

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"
QUIET = {"solver.snapshot": 0, "solver.test_interval": 0, "solver.display": 0}


def same(a, b):
    """Whether {layer: [arrays]} are equal, bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(x, y) for k in a for x, y in zip(a[k], b[k], strict=True))


def rewritten(path, to, change):
    """A snapshot with other arrays and valid checksums."""
    read = snapshot.load(path)
    arrays = {name: np.asarray(array) for name, array in read.arrays.items()}
    change(arrays)
    return snapshot.save(to, read.state["iteration"], arrays, read.state, read.net)


# Snapshots of format 1


@pytest.fixture(scope="module", params=["sgd", "adam_ema_plateau"])
def before(request, tiny, tmp_path_factory):
    """(the net's file, a run with a snapshot of format 1, the recording of it)."""
    path = tiny.parent / f"{request.param}.net"
    shutil.copy(GOLDEN / request.param / "iter_000010" / "net.prototxt", path)
    run = tmp_path_factory.mktemp("before") / request.param
    shutil.copytree(GOLDEN / request.param, run)
    return path, run, np.load(GOLDEN / f"{request.param}.npz")


def recorded(arrays, group):
    """{layer: [arrays]} of a group of a recording."""
    found: dict[str, list[np.ndarray]] = {}
    for key in arrays.files:
        if key.startswith(f"{group}/"):
            found.setdefault(key.split("/")[1], []).append(arrays[key])
    return found


def test_a_run_resumed_from_a_numbered_snapshot_ends_with_the_recorded_weights(before, tmp_path):
    path, run, arrays = before
    result = netdef.train(path, resume=run, output=tmp_path / "run")
    assert result.iteration == 20
    got, wanted = result.model.get_weights(), recorded(arrays, "end")
    assert got.keys() == wanted.keys()
    for layer, want in wanted.items():
        for a, b in zip(got[layer], want, strict=True):  # Adam moves the bias below `bn` by its rounding noise
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=layer)


def test_a_numbered_snapshot_and_its_copy_by_name_are_the_same_run(before, tmp_path):
    path, run, _ = before
    numbered = netdef.train(path, resume=run, output=tmp_path / "numbered")
    named = netdef.train(path, resume=run, output=tmp_path / "named", max_iter=10)  # only saves a snapshot
    assert snapshot.load(named.snapshot).state["format"] == 2
    copied = netdef.train(path, resume=named.snapshot, output=tmp_path / "copied")
    assert same(copied.model.get_weights(), numbered.model.get_weights())
    assert [row["lr"] for row in copied.history] == [row["lr"] for row in numbered.history]


def test_weights_and_solver_state_of_a_numbered_snapshot(before, tmp_path):
    path, run, arrays = before
    assert same(snapshot.weights(run / "iter_000010"), recorded(arrays, "saved"))
    assert main(["convert", str(run), "-o", str(tmp_path / "w.npz")]) == 0
    assert same(read_weights(tmp_path / "w.npz"), read_weights(run))
    named = netdef.train(path, resume=run, output=tmp_path / "named", max_iter=10).snapshot
    for name, source in (("old", run / "iter_000010"), ("new", named)):
        export_snapshot(source, tmp_path / f"{name}.solverstate")
        history = read_state(tmp_path / f"{name}.solverstate").history
        assert len(history) == sum(key.startswith("history/") for key in arrays.files)
        assert all(np.array_equal(entry.read(), arrays[f"history/{i}"]) for i, entry in enumerate(history))
        assert same(read_weights(tmp_path / f"{name}.caffemodel"), read_weights(run))


def test_a_numbered_snapshot_with_other_fields_is_refused(before, tmp_path):
    path, run, _ = before
    text = path.read_text()
    other = path.with_name(f"{path.stem}_other.net")
    other.write_text(
        text.replace("ema: 0.9 ", "") if "ema" in text else text.replace("solver { ", "solver { ema: 0.9 ")
    )
    with pytest.raises(NetdefError, match=r"its training state has \d+ arrays, but this run needs \d+"):
        netdef.train(other, resume=run, output=tmp_path / "run")


# Names


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """The snapshot of a short run."""
    return netdef.train(tiny, output=tmp_path_factory.mktemp("saved") / "run", max_iter=6, set=QUIET).snapshot


def test_each_array_is_stored_once_under_its_name(saved):
    read = snapshot.load(saved)
    trained = ["ip1.0", "ip1.1", "bn.3", "bn.4", "ip2.0", "ip2.1"]
    assert set(read.arrays) == {
        *trained, *(f"{name}/momentum" for name in trained), "bn.0", "bn.1", "bn.2", "losses", "iteration", "bad",
    }  # fmt: skip
    assert read.state["slots"] == ["momentum"]
    stored = {name.decode() for name in (saved / "arrays" / "_METADATA").read_bytes().split(b'"') if b"ip1" in name}
    assert "ip1.0%2Fmomentum" in stored


ODD = [('name: "ip1"', 'name: "inception_3a/1x1"'), ('name: "ip2"', 'name: "größe 1.0"'), ('name: "bn"', 'name: "%2F"')]


def test_layers_may_have_any_name(tiny, tmp_path):
    path = variant(tiny, "odd", *ODD)
    whole = netdef.train(path, output=tmp_path / "whole", max_iter=12, set=QUIET)
    first = netdef.train(path, output=tmp_path / "parts", max_iter=7, set=QUIET)
    assert {"inception_3a/1x1.0/momentum", "größe 1.0.0", "%2F.3"} <= set(snapshot.load(first.snapshot).arrays)
    parts = netdef.train(path, output=tmp_path / "parts", max_iter=12, set=QUIET, resume=True)
    assert same(parts.model.get_weights(), whole.model.get_weights())
    assert same(snapshot.weights(parts.snapshot), whole.model.get_weights())
    export_snapshot(parts.snapshot, tmp_path / "odd.solverstate")
    assert set(read_weights(tmp_path / "odd.caffemodel")) == {"inception_3a/1x1", "größe 1.0", "%2F"}


# Missing and mismatching arrays


def warned(path, **how):
    events: list[ev.Event] = []
    result = netdef.train(path, on_event=events.append, **how)
    assert isinstance(events[0], ev.Started)
    return result, [warning for warning in events[0].warnings if "initial value" in warning]


def test_a_field_that_the_snapshot_lacks_gets_its_initial_value_with_a_warning(tiny, saved, tmp_path):
    path = rewritten(saved, tmp_path / "less", lambda arrays: [arrays.pop(n) for n in ("losses", "ip1.0/momentum")])
    kept, notes = warned(tiny, resume=path, output=tmp_path / "run", max_iter=6, set=QUIET)
    assert notes == [
        f"the snapshot {path} has no `ip1.0/momentum`; using the initial value",
        f"the snapshot {path} has no `losses`; using the initial value",
    ]
    arrays = snapshot.load(kept.snapshot).arrays
    assert not np.any(arrays["ip1.0/momentum"]) and np.all(np.isnan(arrays["losses"]))
    assert np.any(arrays["ip1.1/momentum"])


def test_a_field_that_only_the_snapshot_has_changes_nothing(tiny, saved, tmp_path):
    more = rewritten(saved, tmp_path / "more", lambda arrays: arrays.update(later=np.zeros(3, np.float32)))
    one, other = (
        netdef.train(tiny, resume=path, output=tmp_path / name, max_iter=9, set=QUIET)
        for name, path in (("one", saved), ("other", more))
    )
    assert same(one.model.get_weights(), other.model.get_weights())


def test_averages_that_are_added_later_start_at_the_weights_of_the_snapshot(tiny, saved, tmp_path):
    path = variant(tiny, "later", ("solver { ", "solver { ema: 0.9 "))
    result, notes = warned(path, resume=saved, output=tmp_path / "run", max_iter=6, set=QUIET)
    assert notes == [f"the snapshot {saved} has no `ip1.0/ema` (nor 5 similar arrays); using the initial value"]
    assert same(result.model.get_weights(), snapshot.weights(saved))


def test_a_parameter_that_is_missing_or_has_another_shape_is_named(tiny, saved, tmp_path):
    path = rewritten(saved, tmp_path / "less", lambda arrays: arrays.pop("ip2.1"))
    with pytest.raises(NetdefError, match="it has no parameter 1 of layer `ip2`"):
        netdef.train(tiny, resume=path, output=tmp_path / "run")
    wider = variant(tiny, "wider", ("num_output: 6", "num_output: 7"))
    with pytest.raises(NetdefError, match="parameter 0 of layer `ip1` is 6x4 in the snapshot and 7x4 in this run"):
        netdef.train(wider, resume=saved, output=tmp_path / "run")
    with pytest.raises(NetdefError, match="`losses` is 3 in the snapshot and 5 in this run"):
        netdef.train(tiny, resume=saved, output=tmp_path / "run", set={"solver.average_loss": 5})


# User-defined solvers


@pytest.fixture
def nested():
    """A solver with a nested pytree as history and without slot names; unregistered after the test."""
    with SOLVERS.apart():

        class Nested(Solver, type="Nested"):
            """w <- w - rate * (the mean of all gradients)."""

            def init(self, w):
                return {"sum": [jnp.zeros_like(w)], "count": jnp.float32(0)}

            def update(self, g, w, history, at):
                total, count = history["sum"][0] + g, history["count"] + 1
                return at.rate * total / count, {"sum": [total], "count": count}

        yield Nested


def test_a_history_may_be_any_pytree(nested, tiny, tmp_path):
    settings = QUIET | {"solver.type": "Nested"}
    path = variant(tiny, "nested", ("momentum: 0.9 ", ""))
    whole = netdef.train(path, output=tmp_path / "whole", max_iter=8, set=settings)
    first = netdef.train(path, output=tmp_path / "parts", max_iter=5, set=settings)
    read = snapshot.load(first.snapshot)
    assert read.state["slots"] == ["count", "sum/0"] and read.arrays["ip1.0/count"] == 5
    parts = netdef.train(path, output=tmp_path / "parts", max_iter=8, set=settings, resume=True)
    assert same(parts.model.get_weights(), whole.model.get_weights())
    export_snapshot(first.snapshot, tmp_path / "own.solverstate")
    assert len(read_state(tmp_path / "own.solverstate").history) == 2 * sum(
        len(many) for many in json.loads((first.snapshot / "state.json").read_text())["layers"].values()
    )


@pytest.mark.parametrize("name", SOLVERS.names())
def test_slots_name_every_array_of_a_history(name):
    import jax

    solver = SOLVERS.known()[name]()
    history = solver.init(jnp.zeros(3))
    assert len(solver.slot_names(history)) == len(jax.tree.leaves(history)) > 0
    assert solver.slots and len(set(solver.slots)) == len(solver.slots)


# Where weights are found


@pytest.mark.parametrize("field", ['weights: "{}"', 'reuse {{ source: "{}" }}'])
@pytest.mark.parametrize("where", ["home", "beside the net", "working directory"])
def test_weights_are_searched_in_the_same_folders_as_other_files(field, where, tiny, saved, tmp_path, monkeypatch):
    homes = {"home": tmp_path / "home", "beside the net": tiny.parent, "working directory": tmp_path / "here"}
    for folder in homes.values():
        folder.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(homes["home"]))
    monkeypatch.chdir(homes["working directory"])
    name = f"start_{where.split()[0]}.npz"
    assert main(["convert", str(saved), "-o", str(homes[where] / name)]) == 0
    named = f"~/{name}" if where == "home" else name
    path = variant(tiny, "found", ("solver { ", f"solver {{ {field.format(named)} "))
    result = netdef.train(path, output=tmp_path / "run", max_iter=1, set=QUIET | {"solver.base_lr": 0})
    assert np.array_equal(result.model.get_weights()["ip2"][0], snapshot.weights(saved)["ip2"][0])
