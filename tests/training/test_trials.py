"""Trial runs, and the diagnosis of a net that does not learn."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef import NetdefError
from netdef.training import events as ev
from netdef.training.diagnose import table
from netdef.training.lr_range import lr_find
from netdef.training.single_run import Diverged


def test_a_dry_run_does_two_steps_of_everything_and_leaves_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events = []
    result = netdef.train(tiny, dry_run=True, on_event=events.append)
    kinds = [type(e).__name__ for e in events if not isinstance(e, ev.Stepped)]
    assert kinds.count("Snapshotted") == 2  # reported when they are complete
    assert [kind for kind in kinds if kind != "Snapshotted"] == [
        "Started", "Tested", "Display", "Tested", "Display", "Tested", "Finished"
    ]  # fmt: skip
    assert result.iteration == 2 and not result.folder.exists()
    assert not any(tmp_path.iterdir())


def test_overfit_reports_that_a_batch_was_overfit(tiny, tmp_path):
    events = []
    plain = variant(
        tiny,
        "plain",
        ("dropout_ratio: 0.3", "dropout_ratio: 0.0"),
        ("max_iter: 20", "max_iter: 400"),
        ('"step"', '"fixed"'),
    )
    result = netdef.train(plain, overfit=1, output=tmp_path / "run", on_event=events.append)
    assert [e.text for e in events if isinstance(e, ev.Notice)][-1].startswith("overfit one batch in ")
    assert result.iteration < 400 and not any(isinstance(e, ev.Tested) for e in events)


def test_overfit_reports_that_two_batches_were_not_overfit(tiny, tmp_path):
    events = []
    netdef.train(
        tiny, overfit=2, max_iter=6, output=tmp_path / "run", set={"solver.base_lr": 1e-9}, on_event=events.append
    )
    last = [e.text for e in events if isinstance(e, ev.Notice)][-1]
    assert last.startswith("did NOT overfit 2 batches: after 6 iterations")


def test_the_first_layer_with_a_non_finite_output_is_named_with_its_inputs(tiny, tmp_path):
    log = 'layer { name: "log" type: "Log" bottom: "ip2" top: "log" }\nlayer { name: "loss"'
    path = variant(
        tiny,
        "log",
        ('layer { name: "loss"', log),
        ('bottom: "ip2" bottom: "label" top: "loss"', 'bottom: "log" bottom: "label" top: "loss"'),
    )
    with pytest.raises(
        NetdefError,
        match=r"The loss is nan at iteration 0\. The first non-finite .*`log` of layer `log`, .* `ip2` \(8x3: -.* to ",
    ):
        netdef.train(path, output=tmp_path / "run")


def test_a_parameter_that_was_not_finite_before_is_named(tiny, tmp_path):
    start = {"ip2": [np.full((3, 6), np.nan, np.float32), np.zeros(3, np.float32)]}
    with pytest.raises(NetdefError, match="iteration 0.*Parameter 0 of layer `ip2` was not finite before"):
        netdef.train(tiny, weights=start, output=tmp_path / "run")


def test_watch_shows_the_statistics_of_layers(tiny, tmp_path):
    dead = {"ip1": [np.zeros((6, 4), np.float32), np.float32([-1, -1, -1, 1, 1, 1])]}
    path = variant(
        tiny,
        "watch",
        ('layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" batch_norm_param { scale_bias: true } }', ""),
    )
    events = []
    netdef.train(path, weights=dead, output=tmp_path / "run", max_iter=1, watch=True, on_event=events.append)
    shown = dict(table(next(e for e in events if isinstance(e, ev.Display)).extra))
    assert list(shown) == ["ip1", "relu", "drop", "ip2", "loss"]
    assert shown["relu"]["dead"] == shown["relu"]["zeros"] == 0.5
    assert shown["relu"]["activation"] == 0.5 and shown["ip1"]["activation"] == 1.0
    assert shown["ip1"]["weight"] == pytest.approx(6**0.5)
    update = 0.1 * shown["ip2"]["gradient"] / shown["ip2"]["weight"]
    assert shown["ip2"]["update"] == pytest.approx(update, rel=1e-5) and update > 0


def test_inputs_that_are_not_scaled_are_reported(tiny, tmp_path):
    import h5py

    with h5py.File(tiny.parent / "raw.h5", "w") as file:
        file["x"] = np.random.default_rng(0).uniform(0, 255, size=(16, 4)).astype(np.float32)
        file["label"] = np.zeros(16, np.float32)
    (tiny.parent / "raw.txt").write_text("raw.h5\n")
    events = []
    path = variant(tiny, "raw", ("train.txt", "raw.txt"))
    netdef.train(path, output=tmp_path / "run", max_iter=1, on_event=events.append)
    assert any(w.startswith("`x` has mean 1") for w in events[0].warnings)
    netdef.train(tiny, output=tmp_path / "good", max_iter=1, on_event=events.append)
    good = [e.warnings for e in events if isinstance(e, ev.Started)][1]
    assert not any(w.startswith("`x`") for w in good)


def test_lr_find_suggests_a_learning_rate_that_works(tiny, tmp_path):
    found = lr_find(tiny, iterations=60, output=tmp_path / "find")
    rates = [rate for rate, _ in found.points]
    np.testing.assert_allclose(rates[:3], 1e-6 * (1e7) ** (np.arange(3) / 59), rtol=1e-4)
    assert found.suggestion is not None and 1e-4 < found.suggestion < 3
    with pytest.raises(NetdefError, match="at least 10"):
        lr_find(tiny, iterations=3)


def test_lr_find_ends_where_the_loss_is_not_finite(tiny, tmp_path):
    log = 'layer { name: "log" type: "Log" bottom: "ip2" top: "log" }\nlayer { name: "loss"'
    swapped = ('bottom: "ip2" bottom: "label" top: "loss"', 'bottom: "log" bottom: "label" top: "loss"')
    with pytest.raises(Diverged, match="The loss is nan at iteration 0"):  # no loss was recorded before
        lr_find(variant(tiny, "nolog", ('layer { name: "loss"', log), swapped), output=tmp_path / "log")
    found = lr_find(tiny, lowest=1e-3, highest=1e36, iterations=20, output=tmp_path / "find")
    assert found.diverged is not None and len(found.points) < 20


def test_an_error_that_mentions_an_iteration_is_no_divergence(tiny, tmp_path):
    with pytest.raises(NetdefError, match="use a data layer"):
        text = (
            'layer { name: "iteration" type: "Input" top: "x" input_param { shape { dim: 1 } } } solver { base_lr: 1 }'
        )
        lr_find(text, output=tmp_path / "find")
