"""The images that a classifier gets most wrong."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from netdef.inference.predict import Classified
from netdef.observe import facts_of, page
from netdef.observe.facts import Confusion
from netdef.observe.worst import SHOWN, Worst, WorstRows

pytest.importorskip("PIL")


def batch(scores: list[list[float]], labels: list[int], shape: tuple[int, ...] = (1, 4, 4)) -> Classified:
    rows = np.zeros((len(labels), *shape), np.float32)
    return Classified({"data": rows}, np.array(scores), np.array(labels))


def collected(*batches: Classified) -> WorstRows:
    predictor = SimpleNamespace(net=SimpleNamespace(inputs=("data",)), preprocessing=None)
    found = WorstRows(predictor)  # type: ignore[arg-type]
    for one in batches:
        found(one)
    return found


def test_the_most_certain_mistakes_come_first():
    found = collected(batch([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]], [0, 0, 0]), batch([[0.7, 0.3]], [1]))
    worst = found.worst(["cat", "dog"])
    assert [one.words for one in worst] == [
        "record 2: cat, classified as dog (90%)",
        "record 3: dog, classified as cat (70%)",
        "record 1: cat, classified as dog (60%)",
    ]
    assert all(one.picture.startswith(b"\x89PNG") for one in worst)


def test_only_some_are_kept():
    scores = [[i / 100, 1 - i / 100] for i in range(40)]
    worst = collected(batch(scores, [0] * 40)).worst([])
    assert len(worst) == SHOWN and worst[0].words == "record 0: class 0, classified as class 1 (100%)"


def test_rows_that_are_not_images_have_no_pictures():
    assert collected(batch([[0.1, 0.9]], [0], (7,))).worst([]) == ()
    assert collected(batch([[0.9, 0.1]], [0])).worst([]) == ()


def test_a_report_shows_them(a_run):
    pytest.importorskip("matplotlib")
    found = facts_of(a_run(), test=False)
    judged = Confusion(("a", "b"), ((3, 1), (0, 4)), "iter_1", (Worst(b"png", "record 1: a <b>"),))
    words = page(replace(found, confusion=judged))
    assert "The images that are most wrong:" in words and "record 1: a &lt;b&gt;</figcaption>" in words
