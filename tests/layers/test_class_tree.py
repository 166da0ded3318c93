"""RegionLoss with a tree of classes, against the computation of its fork."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from one_layer import model, outputs

import netdef

PARENTS = (-1, -1, 0, 0, 0, 1, 1, 4, 4)
GROUPS = ((0, 1), (2, 3, 4), (5, 6), (7, 8))
TREE = "".join(f"class{i} {parent}\n" for i, parent in enumerate(PARENTS))
rng = np.random.default_rng(2)
BOXES = rng.normal(size=(2, 28, 3, 4)).astype(np.float32)
TRUTH = np.zeros((2, 3, 5), np.float32)
TRUTH[0, :2] = [[8, 0.3, 0.4, 0.2, 0.3], [1, 0.7, 0.2, 0.4, 0.2]]
TRUTH[1, 0] = [6, 0.6, 0.5, 0.5, 0.5]
LAYER = """layer {{ name: "l" type: "RegionLoss" bottom: "x" bottom: "truth" top: "loss" region_loss_param {{
           num_class: 9 num: 2 softmax_tree: "tree" class_scale: 2 thresh: 0.4 {} biases: [1, 1.2, 2, 1.5] }} }}"""


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    (tmp_path / "tree").write_text(TREE)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A function of true boxes: the loss and its gradient."""
    path = tmp_path_factory.mktemp("tree") / "tree"
    path.write_text(TREE)
    made = model(LAYER.format("noobject_scale: 0.5").replace('"tree"', f'"{path}"'), x=BOXES, truth=TRUTH)
    graph, state = nnx.split(made)
    return jax.jit(jax.value_and_grad(lambda x, truth: nnx.merge(graph, state).loss(x=x, truth=truth)))


def probabilities(values):
    made = np.zeros(9)
    for group in map(list, GROUPS):
        made[group] = np.exp(values[group]) / np.exp(values[group]).sum()
    return made


def chain(label):
    made = [label]
    while PARENTS[made[-1]] >= 0:
        made.append(PARENTS[made[-1]])
    return made


def class_part(values, label):
    """d of the classes of a box."""
    d, p = np.zeros(9), probabilities(values.astype(np.float64))
    for one in chain(label):
        group = list(next(g for g in GROUPS if one in g))
        d[group] = 2 * p[group]
        d[one] = 2 * (p[one] - 1)
    return d


def place_of(gradients):
    """The box and the cell of the only place whose classes have a gradient."""
    box, j, i = np.nonzero(gradients.reshape(2, 14, 3, 4)[:, 5:].any(1))
    return list(zip(box, j, i, strict=True))


def test_a_true_box_is_one_of_its_ancestors_too(computed):
    gradients = np.asarray(computed(BOXES, TRUTH)[1])
    for image, label, j, i in ((0, 8, 1, 1), (0, 1, 0, 2), (1, 6, 1, 2)):
        box = next(box for box, *cell in place_of(gradients[image]) if cell == [j, i])
        values = BOXES[image].reshape(2, 14, 3, 4)[box, 5:, j, i]
        found = gradients[image].reshape(2, 14, 3, 4)[box, 5:, j, i]
        np.testing.assert_allclose(found, class_part(values, label) / 2, rtol=1e-4, atol=1e-6)
    assert len(place_of(gradients[0])) == 2 and len(place_of(gradients[1])) == 1


def test_an_image_with_a_class_but_no_place(computed):
    """It counts where the confidence times the probability of its class and its ancestors is highest."""
    truth = TRUTH.copy()
    truth[1, 1] = [7, 999999, 999999, 999999, 999999]
    gradients = np.asarray(computed(BOXES, truth)[1])
    x = BOXES[1].reshape(2, 14, 3, 4).astype(np.float64)
    sure = 1 / (1 + np.exp(-x[:, 4]))
    likely = np.array(
        [[[s * np.prod(probabilities(x[b, 5:, j, i])[chain(7)]) for i, s in enumerate(row)] for j, row in enumerate(rows)]
         for b, rows in enumerate(sure)]
    )  # fmt: skip
    best = np.unravel_index(likely.argmax(), likely.shape)
    assert place_of(gradients[1]) == [best]
    found = gradients[1].reshape(2, 14, 3, 4)
    b, j, i = best
    np.testing.assert_allclose(found[b, 5:, j, i], class_part(x[b, 5:, j, i], 7) / 2, rtol=1e-4, atol=1e-6)
    c = sure[best]
    expected = 0.5 * sure**2 * (1 - sure)
    expected[best] = min(0, c - 0.3) * c * (1 - c)
    np.testing.assert_allclose(found[:, 4], expected / 2, rtol=1e-4, atol=1e-7)
    assert not found[:, :4].any()


def test_labels_of_the_ssd_fork_are_mapped_to_classes(tmp_path, computed):
    (tmp_path / "map").write_text("8\n1\n\n6\n")
    rows = [[-1.0] * 8]
    for label, image, (x, y, w, h) in [(0, 0, TRUTH[0, 0, 1:]), (1, 0, TRUTH[0, 1, 1:]), (2, 1, TRUTH[1, 0, 1:])]:
        rows.append([image, label, 0, x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0])
    found = outputs(LAYER.format('class_map: "map"'), x=BOXES, truth=np.array([[rows]], np.float32))["loss"]
    assert found == pytest.approx(float(computed(BOXES, TRUTH)[0]), rel=1e-5)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (None, "tree: `softmax_tree` cannot be read: No such file"),
        ("", "`softmax_tree` has no classes"),
        ("a -1\nb\n", "tree:2: 'b' is not the name of a class and the index of its parent"),
        ("a -1\nb 1\n", "tree:2: 'b 1' is not .* at most 0"),
        ("a -1\nb ²\n", "tree:2: 'b ²' is not"),
        ("a -1\nb 0\n", "`softmax_tree` has 2 classes, but `num_class` is 9"),
    ],
)
def test_trees_that_are_wrong(tmp_path, tree, words):
    (tmp_path / "tree").write_text(tree) if tree is not None else (tmp_path / "tree").unlink()
    with pytest.raises(netdef.NetdefError, match=words):
        outputs(LAYER.format(""), x=BOXES, truth=TRUTH)


@pytest.mark.parametrize(
    ("text", "words"), [("1\nx\n", "map:2: 'x' is not the index of a class"), ("", "has no lines")]
)
def test_maps_that_are_wrong(tmp_path, text, words):
    (tmp_path / "map").write_text(text)
    with pytest.raises(netdef.NetdefError, match=words):
        outputs(LAYER.format('class_map: "map"'), x=BOXES, truth=TRUTH)
