"""A net that is used in several threads and processes, started in every way."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from dnnh.nets import caffe_encoder, prototxt
from dnnh.nets.specs import net_spec
from random_nets import normalized_net

DEPLOY = prototxt.deploy_text(net_spec("digits", bits=12))
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)

# What a user's program would be: a net that was used, then processes with the same net.
PROGRAM = """
import multiprocessing, sys
import numpy as np
from dnnh.nets.caffe_encoder import CaffeEncoder

deploy, weights, method = sys.argv[1:]
images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
shared = None

def encode(i):
    net = shared or CaffeEncoder(open(deploy).read(), weights)
    return net.encode(images[i : i + 10]).tolist()

if __name__ == "__main__":
    shared = CaffeEncoder(open(deploy).read(), weights)
    expected = [shared.encode(images[i : i + 10]).tolist() for i in range(8)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(encode, range(8)) == expected
    assert [encode(i) for i in range(8)] == expected
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    normalized_net(DEPLOY, IMAGES).save(str(folder / "net.caffemodel"))
    return folder / "net.caffemodel"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes(weights, method, tmp_path):
    """A process that is forked has none of its parent's threads, and waited for them."""
    (tmp_path / "program.py").write_text(PROGRAM)
    deploy = weights.with_name("deploy.prototxt")
    subprocess.run(
        [sys.executable, tmp_path / "program.py", deploy, weights, method],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=True,
        timeout=120,
    )


def test_threads_get_their_own_images(weights):
    """A Caffe net has one input: another thread's images were encoded at times."""
    net = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    expected = [net.outputs(IMAGES[i : i + 1]) for i in range(len(IMAGES))]
    wrong = []

    def encode(first):
        for i in range(first, 2000, 8):
            row = i % len(IMAGES)
            if not np.array_equal(net.outputs(IMAGES[row : row + 1]), expected[row]):
                wrong.append(row)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # as many switches of threads as there can be
    threads = [threading.Thread(target=encode, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert not wrong
