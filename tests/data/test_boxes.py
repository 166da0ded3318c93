"""Images with boxes: BoxFolder and AnnotatedData, the label with its padding, and errors that name the record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from box_sets import (
    COUNTS,
    ITEMS,
    NAMES,
    annotated,
    coco,
    pictures,
    rows_of,
    table,
    write_coco,
    write_database,
    write_table,
    write_voc,
)
from data_sets import layer, write_lmdb

import netdef
from netdef.data.boxes import most_rows
from netdef.data.sources import open_source
from netdef.language.errors import printable

WRITERS = {"voc": write_voc, "coco": write_coco, "table": write_table}
MAP = 'item { name: "background" label: 0 } item { name: "dog" label: 4 } item { name: "car" label: 9 }'


def folder(fields: str = "", beside: str = "", batch: int = 4) -> str:
    return layer("BoxFolder", f'box_folder_param {{ source: "set" batch_size: {batch} {fields} }}', beside=beside)


def database(fields: str = "", beside: str = "", batch: int = 4) -> str:
    block = f'data_param {{ source: "db" backend: LMDB batch_size: {batch} {fields} }}'
    return layer("AnnotatedData", block, beside=beside)


def label_of(images: list[int], rows: int) -> np.ndarray:
    """The label of a batch of these images."""
    made = [row for index, image in enumerate(images) for row in rows_of(image, index)]
    return np.array(made + [[-1] * 8] * (rows - len(made)), np.float32)[None, None]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_images_with_boxes(kind, tmp_path, batches):
    WRITERS[kind](tmp_path / "set")
    batch = batches(folder(), 1)[0]
    np.testing.assert_array_equal(batch["data"], pictures())
    np.testing.assert_allclose(batch["label"], label_of([0, 1, 2, 3], 6), rtol=1e-6)


def test_a_database_of_the_fork(tmp_path, batches):
    write_database(tmp_path / "db")
    batch = batches(database(), 1)[0]
    np.testing.assert_array_equal(batch["data"], pictures())
    np.testing.assert_allclose(batch["label"], label_of([0, 1, 2, 3], 6), rtol=1e-6)


def test_every_batch_has_the_rows_of_the_largest(tmp_path, batches):
    write_database(tmp_path / "db")
    text = database(batch=2)
    found = batches(text, 3)
    assert netdef.load(text.replace('"db"', f'"{printable(str(tmp_path))}/db"')).blobs["label"].shape == (
        1,
        1,
        5,
        8,
    )  # images 3 and 0
    for batch, images in zip(found, ([0, 1], [2, 3], [0, 1]), strict=True):
        np.testing.assert_allclose(batch["label"], label_of(images, 5), rtol=1e-6)
    odd = batches(database(batch=3), 4)  # (0 1 2) (3 0 1) (2 3 0) (1 2 3)
    for batch, images in zip(odd, ([0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3]), strict=True):
        np.testing.assert_allclose(batch["label"], label_of(images, 6), rtol=1e-6)


def test_the_number_of_rows_is_enough_and_not_too_large():
    counts = np.array([5, 0, 1, 7, 2])
    assert most_rows(counts, 2, in_order=True) == 9  # 7 + 2
    assert most_rows(counts, 2, in_order=False) == 12
    assert most_rows(counts, 1, in_order=True) == 7
    assert most_rows(counts, 12, in_order=True) == 2 * 15 + 9
    assert most_rows(counts, 5, in_order=False) == 15
    assert most_rows(np.zeros(3, int), 2, in_order=True) == 1
    rng = np.random.RandomState(0)
    for _ in range(50):
        counts, size = rng.randint(0, 9, rng.randint(1, 9)), int(rng.randint(1, 20))
        sums = [np.resize(np.roll(counts, -start), size).sum() for start in range(len(counts))]
        assert most_rows(counts, size, in_order=True) == max(1, *sums)


def test_shuffled_images_in_train(tmp_path, batches):
    write_voc(tmp_path / "set")
    made = batches(folder(batch=2), 6, phase="TRAIN")
    assert {batch["label"].shape for batch in made} == {(1, 1, 5, 8)}
    orders = set()
    for batch in made:
        images = [int(x[0].min()) - 10 for x in batch["data"]]
        orders.add(tuple(images))
        np.testing.assert_allclose(batch["label"], label_of(images, 5), rtol=1e-6)
    assert len(orders) > 2


def test_label_rows(tmp_path, batches):
    write_voc(tmp_path / "set")
    assert batches(folder("label_rows: 9"), 1)[0]["label"].shape == (1, 1, 9, 8)
    with pytest.raises(netdef.NetdefError, match="a batch has 6 boxes, but `label_rows` is 5; set it to 6 or more"):
        batches(folder("label_rows: 5"), 1)


def test_labels_of_a_map_and_an_image_set(tmp_path, batches):
    write_voc(tmp_path / "set")
    (tmp_path / "map").write_text(MAP)
    (tmp_path / "some.txt").write_text("03\n00.png\n\n")
    text = folder('label_map_file: "map" image_set: "some.txt"', batch=2)
    batch = batches(text, 1)[0]
    assert batch["label"][0, 0, :, 1].tolist() == [9, 4, 9, 9, 4]
    assert [int(x[0].min()) - 10 for x in batch["data"]] == [3, 0]
    found = netdef.load(text).layers[0].layer
    assert found.class_names(lambda name: tmp_path / name)[:5] == ["background", "1", "2", "3", "dog"]


def test_images_elsewhere(tmp_path, batches):
    write_coco(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "labels.json").rename(tmp_path / "labels" / "train.json")
    text = folder('root_folder: "images"').replace('"set"', '"labels/train.json"')
    np.testing.assert_array_equal(batches(text, 1)[0]["data"], pictures())


def test_a_snapshot_and_workers_see_the_same_batches(tmp_path, feed):
    write_voc(tmp_path / "set")
    sampler = "batch_sampler { sampler { min_scale: 0.5 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } max_sample: 1 }"
    change = (
        "transform_param { mirror: true resize_param { height: 16 width: 16 } expand_param { max_expand_ratio: 2 } }"
    )
    text = folder(sampler, change, batch=2)
    one, other = feed(text, seed=3), feed(text, seed=3, workers=1)
    first = [next(one) for _ in range(5)]
    next(other)
    other.restore(other.state())
    for batch in first[1:]:
        again = next(other)
        np.testing.assert_array_equal(batch["data"], again["data"])
        np.testing.assert_array_equal(batch["label"], again["label"])


def test_conversions_keep_images_boxes_and_names(tmp_path, batches, capsys):
    from netdef.cli import main

    for kind, write in WRITERS.items():
        write(tmp_path / kind)
        for way in ([], ["--encoded"]):
            target = tmp_path / f"{kind}{len(way)}.lmdb"
            assert main(["data", "convert", str(tmp_path / kind), str(target), *way]) == 0
            assert "4 records" in capsys.readouterr().out
            text = database(beside=f'annotated_data_param {{ label_map_file: "{target}.labelmap.prototxt" }}')
            batch = batches(text.replace('"db"', f'"{target}"'), 1)[0]
            np.testing.assert_array_equal(batch["data"], pictures())
            np.testing.assert_allclose(batch["label"], label_of([0, 1, 2, 3], 6), rtol=1e-6)
    assert main(["data", "stats", str(tmp_path / "voc0.lmdb"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == {"1": 3, "2": 3} and found["shapes"] == {"3x20x40": 4}
    for target in ("x.h5", "x.npz", "x.tar"):
        assert main(["data", "convert", str(tmp_path / "voc"), str(tmp_path / target)]) == 1
        assert "boxes can only be written as LMDB; name it .lmdb, or use `--to lmdb`" in capsys.readouterr().err


WRONG = [
    ([[0, 1, 0, 0.5, 0.1, 0.4, 0.2, 0]], "box 1 is inverted (x 0.5 to 0.4, y 0.1 to 0.2)"),
    ([[0, 1, 0, 0.5, 0.1, 0.5, 0.2, 0]], "box 1 is empty"),
    ([[0, 1, 0, 0, 0, 1, 1, 0], [0, 1, 1, 0.5, 0.1, 1.2, 0.2, 0]], "box 2 is partly outside the image"),
    ([[0, 1, 0, 0, 0, np.nan, 1, 0]], "box 1 is not finite"),
    ([[0, 7, 0, 0, 0, 1, 1, 0]], "box 1 has the label 7, which is not in the label map"),
]


@pytest.mark.parametrize(("rows", "what"), WRONG)
def test_wrong_boxes_of_a_database_name_the_record(rows, what, tmp_path, batches, capsys):
    from netdef.cli import main

    image = pictures()[0]
    write_lmdb(tmp_path / "db", [annotated(image, rows_of(0, 0)), annotated(image, rows)])
    (tmp_path / "map").write_text(MAP.replace("4", "2").replace("9", "1"))
    names = 'annotated_data_param { label_map_file: "map" }'
    with pytest.raises(netdef.NetdefError) as caught:
        batches(database(beside=names, batch=2), 1)
    assert f"layer `a`: record b'00000001' of {printable(str(tmp_path))}/db is wrong: {what}" in str(caught.value)
    skipping = database(beside=f"{names} sample_param {{ skip_corrupt: true }}", batch=2)
    assert batches(skipping, 1)[0]["label"][0, 0, :, 0].tolist() == [0, 0, 0, 1, 1, 1]
    if "label map" not in what:
        assert main(["data", "check", str(tmp_path / "db")]) == 1
        assert what in capsys.readouterr().out


FAULTS = [
    ("4,5,12,15", "12,5,4,15", "boxes.csv:2: {0}/00.png: box 1 is inverted (x 12 to 4, y 5 to 15); correct it, or set"),
    ("4,5,12,15", "4,5,42,15", "box 1 is partly outside the image (x 4 to 42, y 5 to 15, in an image of 40 x 20)"),
    ("4,5,12,15", "4,5,,15", "boxes.csv:2: no value in column `xmax`"),
    ("4,5,12,15", "4,five,12,15", "boxes.csv:2: `ymin` is `five`; it must be a number"),
    ("4,5,12,15", "4,nan,12,15", "boxes.csv:2: `ymin` is `nan`; it must be a number"),
    ("00.png,car,4,5,12,15,0", "00.png,car,4", "boxes.csv:2: 3 columns, but the header has 7"),
    ("00.png,car,4", ",car,4", "boxes.csv:2: no image is named"),
    ("xmin", "left", "boxes.csv has no column `xmin`; it has image, label, left"),
    ("00.png,car,4", "lost.png,car,4", "the image {0}/lost.png cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize(("before", "after", "what"), FAULTS)
def test_wrong_tables_name_the_line(before, after, what, tmp_path, batches):
    write_table(tmp_path / "set")
    (tmp_path / "set" / "boxes.csv").write_text(table().replace(before, after, 1))
    with pytest.raises(netdef.NetdefError) as caught:
        batches(folder(), 1)
    assert what.format(printable(str(tmp_path / "set"))) in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("<name>car</name>", "<name>cat</name>", "00.xml: a box has the name `cat`, which is not in map"),
        ("<name>car</name>", "", "00.xml: object 1 has no <name>"),
        ("<xmax>12</xmax>", "", "00.xml: object 1 has no <bndbox/xmax>"),
        ("<width>40</width>", "<width>inf</width>", "00.xml: <size> is `inf`; it must be a number"),
        ("<xmax>12</xmax>", "<xmax>wide</xmax>", "00.xml: <xmax> of object 1 is `wide`; it must be a number"),
        ("<xmax>12</xmax>", "<xmax>2</xmax>", "00.png: box 1 is inverted (x 4 to 2"),
        ("<width>40", "<width>41", "00.png is 20x40 (height x width), but its labels are for 20x41"),
        ("</annotation>", "", "00.xml is not a readable XML file of VOC"),
    ],
)
def test_wrong_xml_names_the_file(before, after, what, tmp_path, batches):
    write_voc(tmp_path / "set")
    (tmp_path / "map").write_text(MAP)
    file = tmp_path / "set" / "Annotations" / "00.xml"
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(netdef.NetdefError) as caught:
        batches(folder('label_map_file: "map"'), 1)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 0 is of image 99, which is not in `images`"),
        (lambda c: c["annotations"][1].update(category_id=4), "annotation 1 has the category 4"),
        (lambda c: c["annotations"][2].update(bbox=[1, 2, 3]), "labels.json is not a readable JSON file of COCO"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]), "image 7: {0}/00.png: box 1 is inverted"),
        (lambda c: c["images"][1].update(height=21), "01.png is 20x40 (height x width), but its labels are for 21x40"),
        (lambda c: c.pop("annotations"), "it must have lists `images`, `annotations` and `categories`"),
    ],
)
def test_wrong_json_names_the_annotation(change, what, tmp_path, batches):
    write_coco(tmp_path / "set")
    content = coco()
    change(content)
    (tmp_path / "set" / "labels.json").write_text(json.dumps(content))
    with pytest.raises(netdef.NetdefError) as caught:
        batches(folder(), 1)
    assert what.format(printable(str(tmp_path / "set"))) in str(caught.value)


def test_folders_without_labels_or_with_several(tmp_path, batches):
    write_coco(tmp_path / "set")
    (tmp_path / "set" / "other.json").write_text("{}")
    with pytest.raises(netdef.NetdefError, match=r"has 2 files of labels: labels.json, other.json; name one of them"):
        batches(folder(), 1)
    for name in ("labels.json", "other.json"):
        (tmp_path / "set" / name).unlink()
    with pytest.raises(netdef.NetdefError, match="has no labels: expected XML files of VOC"):
        batches(folder(), 1)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ("augment_param { rotate: 10 }", "`rotate` of `augment_param` is for images with classes; boxes do not follow"),
        ("transform_param { random_aspect_ratio_param { } crop_size: 8 }", "do not follow `random_aspect_ratio_param`"),
    ],
)
def test_changes_that_boxes_do_not_follow(fields, what, tmp_path):
    write_voc(tmp_path / "set")
    text = folder(beside=fields).replace('"set"', f'"{printable(str(tmp_path))}/set"')
    with pytest.raises(netdef.CompileError, match=what):
        netdef.load(text)


def test_processes_have_their_own_images_and_boxes(tmp_path, feed):
    write_voc(tmp_path / "set")
    for share in range(2):
        label = next(feed(folder("shuffle: false"), process=(share, 2)))["label"]
        wanted = [*rows_of(2 * share, 0), *rows_of(2 * share + 1, 1)]
        np.testing.assert_allclose(label[0, 0, : len(wanted)], wanted, rtol=1e-6)
        assert (label[0, 0, len(wanted) :] == -1).all()


def test_every_form_is_recognized(tmp_path):
    write_database(tmp_path / "db")
    for kind, write in WRITERS.items():
        write(tmp_path / kind)
    for path in ("db", "voc", "coco", "table", "coco/labels.json", "table/boxes.csv"):
        records = open_source(tmp_path / path)
        assert records.counts().tolist() == COUNTS, path
        records.close()
    assert len(ITEMS) == 4 and len(NAMES) == 2


def test_nets_of_the_yolo_fork_are_tested_with_the_first_of_their_sizes():
    text = (
        'layer { name: "d" type: "AnnotatedData" top: "data" top: "label" top: "seg"\n'
        '        data_param { source: "gone" batch_size: 4 }\n'
        "        transform_param { resize_param { height: 320 width: 416 } resize_param { height: 608 width: 608 } } }"
    )
    (images,) = map(str, netdef.load(text, phase="TRAIN").diagnostics)
    assert "the label images of YoloSeg, its third top, cannot be read" in images
    net = netdef.load(text, phase="TEST")
    assert net.blobs["data"].shape[2:] == (320, 416) and len(net.blobs["seg"].shape) == 4
    (sizes, images) = sorted((str(each) for each in net.diagnostics), reverse=True)
    assert "`resize_param` is given 2 times" in sizes and "in phase TEST the first is used, 320 x 416" in sizes
    assert "the label images of YoloSeg, its third top, cannot be read" in images


def test_image_files_are_decoded_as_is_color_says():
    text = (
        'layer {{ name: "d" type: "BoxFolder" top: "data" top: "label" transform_param {{ force_gray: true }}'
        ' box_folder_param {{ source: "gone" batch_size: 4 is_color: {} }} }}'
    )
    color, gray = ([str(d) for d in netdef.load(text.format(word)).diagnostics] for word in ("true", "false"))
    words = "`force_gray` has no effect on image files; write `is_color: false` in `box_folder_param` instead"
    assert words in "".join(color) and words not in "".join(gray)
