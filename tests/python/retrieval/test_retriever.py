"""From an image to its neighbors, by the tools search.py and serve.py too."""

import concurrent.futures
import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import h5py
import numpy as np
import pytest

from dnnh import packed_codes, paths
from dnnh.data import image_files
from dnnh.errors import UserError
from dnnh.nets import (
    caffe_encoder,
    configs,
    encoder,
    net_config,
    onnx_export,
    prototxt,
    runtimes,
)
from dnnh.nets import weights as net_weights
from dnnh.nets.specs import net_spec
from dnnh.retrieval import index_files, retriever
from exported import METADATA


def digit(path):
    return image_files.decode_image(path.read_bytes(), path)


def test_an_image_finds_itself_and_its_neighbors(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    with retriever.open_index(tmp_path / "c.h5") as opened:
        index = opened.index
        path = photos / "class1/16.png"
        code, costs = retriever.QueryEncoder(index, weights).encode(digit(path))
        (hits,) = opened.nearest(code, 5)
        assert len(hits) == 5
        (itself,) = [hit for hit in hits if hit.name == "class1/16.png"]
        assert itself.distance == 0 and itself.labels == ("class1",)
        bits_that_differ = packed_codes.unpack(index.codes, 12) != packed_codes.unpack(code, 12)
        distances = bits_that_differ.sum(axis=1)
        assert [hit.distance for hit in hits] == sorted(distances)[:5]
        assert [hit.row for hit in opened.within(code[0], 12, 100)] == np.argsort(
            distances, kind="stable"
        ).tolist()
        assert np.array_equal(opened.image(hits[0].name), digit(photos / hits[0].name))
        (hits,) = opened.nearest(code, 5, costs)
    query = ["search", "--index", tmp_path / "c.h5", "--image", path]
    outputs = ["--json", tmp_path / "hits.json", "--html", tmp_path / "hits.html"]
    printed = run(*query, "-k", 3, *outputs)
    assert len(printed.splitlines()) == 3
    written = json.loads((tmp_path / "hits.json").read_text())
    assert [hit["name"] for hit in written["hits"]] == [hit.name for hit in hits[:3]]
    page = (tmp_path / "hits.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    assert f"<strong>Distance {hits[0].distance}</strong><br><b>class" in page
    assert f"<span>{hits[0].name}</span>" in page
    alts = re.findall(r'<img alt="([^"]*)"', page)
    assert alts == ["Query: 16.png", *(f"{hit.labels[0]}, {hit.name}" for hit in hits[:3])]
    by_hamming = json.loads(run(*query, "--rank", "hamming", "--json", "-"))["hits"]
    distances = [hit["distance"] for hit in by_hamming]
    assert distances == sorted(distances)
    (photos / hits[1].name).unlink()
    run(*query, "--top", 10, "--html", tmp_path / "hits.html")
    assert "cannot be read" in (tmp_path / "hits.html").read_text()
    for wrong, message in (
        (photos / "broken.jpg", "is not a readable image"),
        (photos / "nowhere.jpg", "nowhere.jpg cannot be read"),
        (photos, "cannot be read .Is a directory"),
    ):
        with pytest.raises(UserError, match=message):
            run("search", "--index", tmp_path / "c.h5", "--image", wrong)


def test_hits_are_ordered_by_asymmetric_distance(photos, tmp_path, run, weights, monkeypatch):
    """sum |s_i - b_i|, with s before the piece-wise threshold, among the nearest candidates."""
    run.encode(photos, tmp_path / "c.h5")
    with retriever.open_index(tmp_path / "c.h5") as opened:
        index = opened.index
        query_encoder = retriever.QueryEncoder(index, weights)
        s = np.random.default_rng(1).random(12)
        net = query_encoder._encoder
        monkeypatch.setattr(net, "unrounded_outputs", lambda images: s[np.newaxis])
        code, costs = query_encoder.encode(digit(photos / "class1/16.png"))
        assert (packed_codes.unpack(code, 12)[0] == (s > 0.5)).all()
        b = packed_codes.unpack(index.codes, 12).astype(float)
        expected = np.abs(s - b).sum(axis=1)
        hamming = packed_codes.unpack(index.codes ^ code, 12).sum(axis=1)
        for found in (opened.nearest(code, 9, costs)[0], opened.within(code[0], 12, 9, costs[0])):
            rows = [hit.row for hit in found]
            assert np.allclose(expected[rows], np.sort(expected)[:9], atol=1e-6)
            assert [hit.distance for hit in found] == hamming[rows].tolist()
        assert [hit.distance for hit in found] != sorted(hit.distance for hit in found)
        with pytest.raises(UserError, match="k is 0; ask for at least 1"):
            opened.nearest(code, 0, costs)
        monkeypatch.setattr(retriever, "CANDIDATES", 4)
        assert len(opened.within(code[0], 12, 3, costs[0])) == 3
        rows = [hit.row for hit in opened.nearest(code, 3, costs)[0]]
        nearest = np.argsort(hamming, kind="stable")[:4]
        assert np.allclose(expected[rows], np.sort(expected[nearest])[:3], atol=1e-6)
        learned = np.arange(12, dtype=np.float32)
        monkeypatch.setattr(net, "bit_weights", learned)
        costs = query_encoder.encode(digit(photos / "class1/16.png")).weights
        assert np.array_equal(costs, [learned])  # weighted Hamming distance
    queries = ["search", "--index", tmp_path / "c.h5", "--queries", tmp_path / "c.h5"]
    for options, message in (
        (["--rank", "asymmetric"], "--rank asymmetric is for an image"),
        (["--model", weights], "--model is for encoding an image; --queries has codes already"),
        (["--runtime", "onnx"], "--runtime is for encoding an image"),
    ):
        with pytest.raises(UserError, match=message):
            run.plain(*queries, *options)


def test_an_empty_address_is_none(run, tmp_path):
    """Of a variable that is not set; it would serve every machine."""
    with pytest.raises(UserError, match="--host is empty; leave it out"):
        run.plain("serve", "--index", tmp_path / "c.h5", "--host", "")


def test_codes_of_two_sub_networks_are_no_queries(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs["dataset"], file.attrs["method"] = "mnist", "dnnh_two_towers"
    with pytest.raises(UserError, match="'dnnh_two_towers' has another one for queries"):
        run.plain("search", "--index", tmp_path / "c.h5", "--queries", tmp_path / "c.h5")


def test_queries_of_another_net(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    shutil.copy(tmp_path / "c.h5", tmp_path / "q.h5")
    with h5py.File(tmp_path / "q.h5", "a") as file:
        file.attrs["weights"] = "0" * 64
    with pytest.raises(
        UserError, match="q.h5 has 12 bits of the weights 000.*encode both with the"
    ):
        run.plain("search", "--index", tmp_path / "c.h5", "--queries", tmp_path / "q.h5")


@pytest.mark.parametrize(
    "tower, options, message",
    [
        ("query", (), "the sub-network that encodes queries"),
        ("", ("--hash", "itq"), "gives codes; leave it out"),
    ],
)
def test_onnx_models_that_make_no_index(photos, tmp_path, run, weights, tower, options, message):
    spec = net_spec("digits", bits=12)
    model = onnx_export.export(prototxt.deploy_text(spec), weights, {**METADATA, "tower": tower})
    (tmp_path / "net.onnx").write_bytes(model)
    words = ("--images", photos, "--output", tmp_path / "c.h5", "--model", tmp_path / "net.onnx")
    with pytest.raises(UserError, match=message):
        run.plain("encode", *words, *options)
    assert not (tmp_path / "c.h5").exists()


def test_the_database_has_its_own_sub_network(photos, tmp_path, run, monkeypatch):
    """Section 4.4: P encodes queries, Q the database; its updates, too."""
    config = dataclasses.replace(
        configs.CONFIGS["digits"]["dnnh_minimal"], towers=net_config.TWO_TOWERS
    )
    monkeypatch.setitem(configs.CONFIGS["digits"], "dnnh_two_towers", config)

    class Fake(encoder.Encoder):
        bits, image_shape = 12, (1, 8, 8)

        def __init__(self, deploy, weights, gpu):
            self.ones = 12 if 'top: "query_codes"' in deploy else 4
            assert self.ones == 12 or 'top: "database_codes"' in deploy

        def _run(self, images, rounded):
            return np.tile(np.arange(12) < self.ones, (len(images), 1)).astype(np.float32)

        def _name(self):
            return "a fake"

    monkeypatch.setattr(runtimes, "CaffeEncoder", Fake)
    run.encode(photos, tmp_path / "c.h5", "--method", "dnnh_two_towers")
    shutil.copy(photos / "class0/00.png", photos / "class0/new.png")
    run("encode", "--update", "--output", tmp_path / "c.h5")
    query = ["--index", tmp_path / "c.h5", "--image", photos / "class0/00.png", "-k", 50]
    hits = json.loads(run("search", *query, "--json", "-"))["hits"]
    assert len(hits) == 38 and {hit["distance"] for hit in hits} == {8}


def test_several_threads_get_the_codes_of_their_images(photos, tmp_path, run, weights, monkeypatch):
    """Caffe's nets are for one thread at a time."""
    run.encode(photos, tmp_path / "c.h5")
    use, inside = caffe_encoder.pycaffe.use, []

    def alone(gpu):
        inside.append(1)
        time.sleep(0.001)  # let others in, if they can come
        assert len(inside) == 1
        inside.clear()
        return use(gpu)

    monkeypatch.setattr(caffe_encoder.pycaffe, "use", alone)
    index = index_files.load(tmp_path / "c.h5")
    query_encoder = retriever.QueryEncoder(index, weights)
    names = index.names(slice(0, 37))

    def encode(name):
        return query_encoder.encode(digit(photos / name)).codes

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert np.array_equal(np.concatenate(list(pool.map(encode, names))), index.codes)


def test_codes_of_other_weights(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    (tmp_path / "other.caffemodel").write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(UserError, match="was encoded with other weights than .*--model"):
        retriever.QueryEncoder(index_files.load(tmp_path / "c.h5"), tmp_path / "other.caffemodel")


def test_the_weights_it_was_encoded_with_are_found(photos, tmp_path, run, weights, monkeypatch):
    """Among all trainings of the net; newer ones, too."""
    run.encode(photos, tmp_path / "c.h5")
    index = index_files.load(tmp_path / "c.h5")
    newer = tmp_path / "newer.caffemodel"
    newer.write_bytes(weights.read_bytes() + b"\0")
    both = [net_weights.Weights(newer, ""), net_weights.Weights(weights, "")]
    monkeypatch.setattr(net_weights, "all_weights", lambda spec: both)
    (name,) = index.names(0)
    assert index.names(np.array([5, 0, 5])) == [*index.names(5), name, *index.names(5)]
    code, _ = retriever.QueryEncoder(index).encode(digit(photos / name))
    assert np.array_equal(code, index.codes[:1])
    monkeypatch.setattr(net_weights, "all_weights", lambda spec: both[:1])
    with pytest.raises(UserError, match="other weights than any of dnnh of digits at 12 bits here"):
        retriever.QueryEncoder(index)


def test_a_page_is_served_until_it_is_stopped(photos, tmp_path, run, weights):
    pytest.importorskip("uvicorn")
    run.encode(photos, tmp_path / "c.h5")
    command = [
        sys.executable,
        str(paths.ROOT / "tools/serve.py"),
        "--index",
        str(tmp_path / "c.h5"),
        "--model",
        str(weights),
    ]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as served:
        try:
            address = served.stdout.readline().strip()
            port = address.rpartition(":")[2]
            with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
                assert json.load(answer)["images"] == 37
            other = subprocess.run(
                [*command, "--port", port], capture_output=True, text=True, timeout=60
            )
            assert other.returncode == 1 and re.fullmatch(
                rf"error: '127.0.0.1', port {port}, cannot be listened on .*--port or --host\n",
                other.stderr,
            )
            served.send_signal(signal.SIGINT)
            served.wait(60)
        finally:
            served.kill()
    assert served.returncode == 0
