"""The layer Resize against Pillow's bicubic interpolation."""

import caffe
import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize(("before", "size"), [((32, 32), 129), ((40, 25), 97), ((60, 50), 17)])
def test_as_pillow_does(tmp_path, before, size):
    height, width = before
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 2, '
        f"{height}, {width}] }} }} }} "
        'layer { name: "y" type: "Resize" bottom: "x" top: "y" resize_param { size: '
        f"{size} }} }}"
    )
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    images = np.random.default_rng(0).random((2, height, width)).astype(np.float32)
    net.blobs["x"].data[0] = images
    net.forward()
    for image, resized in zip(images, net.blobs["y"].data[0]):
        expected = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(resized, np.asarray(expected), atol=1e-5)
