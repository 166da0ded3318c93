"""Detectors whose images change their size every ten iterations, as in the YOLO fork: a step for each size, one state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_detector import write_ragged

import netdef
from netdef.data.feed import Feed
from netdef.sweep.batched_runs import can_share
from netdef.training import events as ev
from netdef.training.sizes import varying
from netdef.training.solver_nets import nets_of

SMALL, WIDE = "resize_param { height: 24 width: 24 }", "resize_param { height: 32 width: 40 }"


def detector(folder: Path, *sizes: str, rate: str = "0.0001", solver: str = "", iterations: int = 40) -> Path:
    """Writes images with boxes and a net that is trained with images of these sizes."""
    path = write_ragged(folder, 4, solver)
    text = path.read_text().replace("transform_param { }", f"transform_param {{ {' '.join(sizes)} }}")
    path.write_text(
        text.replace("max_iter: 4", f"max_iter: {iterations}").replace("base_lr: 0.0001", f"base_lr: {rate}")
    )
    return path


def losses(path: Path, run: str = "run", **options) -> list[float]:
    result = netdef.train(path, output=path.parent / run, progress=False, **options)
    return [row["loss"] for row in result.history if row["phase"] == "train"]


def test_every_ten_iterations_a_size_is_drawn(tmp_path):
    """With weights that do not change, each loss is that of a run with images of one size."""
    small, wide, both = (
        losses(detector(tmp_path / name, *sizes, rate="1e-30"))
        for name, sizes in (("small", [SMALL]), ("wide", [WIDE]), ("both", [SMALL, WIDE]))
    )
    chosen = [both[i : i + 10] == small[i : i + 10] for i in range(0, 40, 10)]
    assert sorted(set(chosen)) == [False, True]
    expected = [wide[i] if not chosen[i // 10] else small[i] for i in range(40)]
    assert both == expected and small != wide


def test_a_resumed_run_has_the_sizes_of_an_uninterrupted_one(tmp_path):
    path = detector(tmp_path / "net", SMALL, WIDE, solver="iter_size: 2 debug_info: true", iterations=30)
    path.write_text(path.read_text().replace("snapshot_after_train: false", ""))
    notices = []
    whole = losses(path, on_event=lambda event: notices.append(event) if isinstance(event, ev.Notice) else None)
    losses(path, "parts", max_iter=13)
    assert losses(path, "parts", resume=True) == whole
    assert "images are of 24x24, 32x40; one of these sizes is drawn every 10 iterations" in notices[0].text


def test_devices_draw_the_same_sizes(eight, tmp_path):
    path = detector(tmp_path / "net", SMALL, WIDE, iterations=21)
    np.testing.assert_allclose(eight(losses, path, "two", devices=2), losses(path), rtol=2e-6)


def shapes(path: Path, batches: int) -> list[tuple[int, ...]]:
    feed = Feed(varying(netdef.load(path, phase="TRAIN"), 1), seed=3)
    try:
        return [next(feed)["data"].shape[-2:] for _ in range(batches)]
    finally:
        feed.close()


def test_the_probability_of_a_size_is_its_weight(tmp_path):
    never = WIDE.replace("}", "prob: 0 }")
    assert set(shapes(detector(tmp_path / "one", never, SMALL), 12)) == {(24, 24)}
    both = shapes(detector(tmp_path / "both", WIDE, SMALL), 40)
    assert 10 < both.count((24, 24)) < 30
    feed = Feed(netdef.load(tmp_path / "both" / "ssd.net", phase="TRAIN"))  # as tests and other commands read it
    assert {next(feed)["data"].shape for _ in range(8)} == {(4, 1, 32, 40)}
    feed.close()


def test_weights_must_not_depend_on_the_size(tmp_path):
    path = detector(tmp_path / "net", SMALL, WIDE)
    path.write_text(
        path.read_text()
        + """layer { name: "ip" type: "InnerProduct" bottom: "cells" top: "ip" inner_product_param { num_output: 2 } }"""
    )
    words = "layer `ip` has weights 2x9 for images of 24x24, and 2x20 for 32x40; where `resize_param` is given several"
    with pytest.raises(netdef.NetdefError, match=words):
        losses(path)


def test_one_layer_has_several_sizes(tmp_path):
    path = detector(tmp_path / "net", SMALL, WIDE)
    second = path.read_text().replace('name: "d"', 'name: "e"').replace('top: "data" top: "truth"', 'top: "more"')
    path.write_text(path.read_text() + second[: second.index('layer { name: "cells"')])
    with pytest.raises(netdef.NetdefError, match="layers `d` and `e` both have several `resize_param`"):
        losses(path)


def test_runs_with_several_sizes_are_trained_alone(tmp_path):
    paths = [detector(tmp_path / name, *sizes) for name, sizes in (("one", [SMALL]), ("both", [SMALL, WIDE]))]
    assert [can_share([nets_of(path)] * 2) for path in paths] == [True, False]
