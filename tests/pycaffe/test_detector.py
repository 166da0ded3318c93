"""A detector in pycaffe: its detections are those of Caffe, without rows that pad them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_detector

import netdef.pycaffe as caffe


def test_detections_of_a_net(tmp_path: Path):
    (tmp_path / "ssd.prototxt").write_text(small_detector.DEPLOYED)
    net = caffe.Net(str(tmp_path / "ssd.prototxt"), caffe.TEST)
    net.blobs["data"].data[...] = small_detector.image((1, 2, 250), (0, 0, 240))
    found = net.forward()["found"]
    assert found.shape == (1, 1, 2, 7) and net.blobs["found"].data.shape == (1, 1, 2, 7)
    np.testing.assert_allclose(found[0, 0, :, :3], [[0, 1, 1]] * 2, atol=1e-4)
    net.blobs["data"].data[...] = small_detector.image()
    assert net.forward()["found"][0, 0].tolist() == [[0, -1, -1, -1, -1, -1, -1]]
