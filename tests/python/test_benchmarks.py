"""The benchmarks run, on the nets as they are now; but for those of CIFAR-10's images."""

import argparse
import importlib.util
import json
import sys

import numpy as np
import pytest

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, onnx_export
from dnnh.nets.caffe_encoder import CaffeEncoder
from dnnh.retrieval.engines.numpy_engine import NumpyEngine

sys.path.append(str(paths.ROOT / "benchmarks"))  # for what they share


def benchmark(name):
    """A benchmark as a module; a tool may have the same name."""
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{name}", paths.ROOT / "benchmarks" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


collages, encoding, harness, ranking, search, steps, torch_net = map(
    benchmark, ("collages", "encoding", "harness", "ranking", "search", "steps", "torch_net")
)
asymmetric, duplicates, sub_networks = map(benchmark, ("asymmetric", "duplicates", "sub_networks"))


@pytest.mark.parametrize("name", sorted(steps.NETS))
def test_a_step_in_caffe(name):
    spec = steps.spec_of(name)
    net = steps.CaffeNet(spec, 2)
    forward, step = net.step()
    assert 0 < forward < step
    blobs = net.net.blobs
    assert blobs["images"].shape[0] == 6 and np.isfinite(blobs["loss"].data)
    for place, member in enumerate(("query", "positive", "negative")):
        assert (blobs[member].data == blobs["codes"].data[2 * place : 2 * place + 2]).all()
    first = "conv1_1" if name == "dnnh_plus" else "conv1"
    assert {"pixels", first, "loss"} <= set(net.layers(1))


@pytest.mark.parametrize("name", sorted(steps.NETS))
def test_pytorchs_net_computes_the_same(name, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as harness.in_child does
    train_net = steps.prototxt.train_net

    def without_dropout(spec):
        message = train_net(spec)
        for layer in message.layer:
            if layer.type == "Dropout":
                layer.dropout_param.dropout_ratio = 0
        return message

    monkeypatch.setattr(steps.prototxt, "train_net", without_dropout)
    spec = steps.spec_of(name)
    ours, theirs = steps.CaffeNet(spec, 2), torch_net.TorchNet(torch_net.describe(spec), 2)
    blobs, kinds = (
        ours.net.params,
        {layer: ours.net.layer_dict[layer].type for layer in ours.net.params},
    )
    (encode,) = [layer for layer in blobs if kinds[layer] == "DivideAndEncode"]
    convolutions = [layer for layer in blobs if kinds[layer] == "Convolution"]
    modules = [module for module in theirs.net if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        for layer, module in zip(convolutions, modules, strict=True):
            weights, bias = blobs[layer]
            module.weight.copy_(torch.from_numpy(weights.data))
            module.bias.copy_(torch.from_numpy(bias.data))
        theirs.weights.copy_(torch.from_numpy(blobs[encode][0].data).reshape_as(theirs.weights))
        theirs.images.copy_(torch.from_numpy(ours.net.blobs["images"].data))
        for module in theirs.net:
            if isinstance(module, torch.nn.Dropout):
                module.p = 0
        ours.net.forward()
        codes = ours.net.blobs["codes"].data
        assert codes.std(axis=0).max() > 0.01
        assert np.abs(theirs.codes(theirs.images).numpy() - codes).max() < 1e-3
        assert abs(float(theirs.loss()) - float(ours.net.blobs["loss"].data)) < 1e-3
    assert all(seconds > 0 for seconds in theirs.step())


@pytest.mark.parametrize("program", ["caffe", "onnxruntime", "torch"])
def test_programs_that_encode_give_the_same_codes(program, tmp_path, monkeypatch):
    pytest.importorskip(program)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as harness.in_child does
    deploy, weights = encoding._deploy_and_weights("dnnh_plus")
    model = tmp_path / "net.onnx"
    model.write_bytes(onnx_export.export(deploy, weights, {}))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    run = getattr(encoding, f"_{program}")("dnnh_plus", model)
    wanted = CaffeEncoder(deploy, weights).outputs(images)
    assert np.abs(run(images) - wanted).max() < 1e-5


def test_macs_of_a_net():
    text = """
    layer { name: "images" type: "Input" top: "images" input_param { shape { dim: [7, 4, 6, 5] } } }
    layer { name: "a" type: "Convolution" bottom: "images" top: "a"
            convolution_param { num_output: 8 kernel_size: 3 group: 2 } }
    layer { name: "b" type: "BatchNorm" bottom: "a" top: "b" }
    layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 6 } }
    layer { name: "d" type: "DivideAndEncode" bottom: "c" top: "d"
            divide_and_encode_param { num_output: 2 } }
    """
    net = caffe_encoder.build(caffe_encoder.parse(text))
    assert harness.macs(net) == [8 * 2 * 9 * 4 * 3, 6 * 8 * 4 * 3, 6]


def test_the_peak_is_of_a_matrix_product(monkeypatch, capsys):
    monkeypatch.setattr(harness.time, "perf_counter", iter(range(10)).__next__)
    harness.child("float32")
    assert json.loads(capsys.readouterr().out) == {"macs": 2048**3}
    assert harness.share_of_peak(50, 2, 100) == "25%"


def test_drawing_codes_does_not_count_as_building(monkeypatch):
    clock = iter(np.arange(1000.0))

    def generate(count, bits, seed):
        for _ in range(3):
            next(clock)  # a second each
            yield np.zeros((count, bits // 8), np.uint8)

    monkeypatch.setattr(search, "generate", generate)
    monkeypatch.setattr(search.time, "perf_counter", lambda: next(clock))
    arguments = argparse.Namespace(bits=48, size=10, nlist=1)
    with search.build("numpy", arguments) as built:
        # Two readings of the clock for each of three blocks, and for the first search.
        assert len(built.engine) == 30
        assert built.seconds == 4


@pytest.mark.parametrize("name", search.FAISS_IVF)
def test_faiss_ivf_has_all_codes_in_exact_lists(name):
    pytest.importorskip("faiss")
    arguments = argparse.Namespace(bits=48, size=20_000, nlist=16)
    exact = NumpyEngine(48)
    exact.add(next(search.generate(20_000, 48, seed=0)))
    queries = next(search.generate(20, 48, seed=1))
    with search.build(name, arguments) as built:
        built.engine.nprobe = 16
        distances = built.engine.search(queries, 10).distances
    assert np.array_equal(distances, exact.search(queries, 10).distances)


def test_collages_replace_nothing(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(sys, "argv", ["collages.py", "--output", str(tmp_path)])
    with pytest.raises(UserError, match="is there already; name a new folder"):
        collages.main()
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "program, words",
    [
        (search, "--size 3000 --queries 40 --nlist 8 --nprobe 8 --engines numpy ivf"),
        (ranking, "--sizes 500 --bits 12 --rounds 1"),
    ],
)
def test_a_table_is_written(program, words, tmp_path, monkeypatch):
    monkeypatch.setattr(program.harness.paths, "ROOT", tmp_path)
    monkeypatch.setattr(program.harness, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", *words.split()])
    program.main()
    (table,) = tmp_path.glob("*.md")
    figures = json.loads(table.with_suffix(".json").read_text())
    if program is search:
        numpy, ivf = figures["engines"]
        assert (numpy["recall"], ivf["recall"]) == (1, 1)  # all lists are searched
        assert ivf["engine"] == "ivf, 8 of 8 lists" and min(ivf["one"], ivf["all"]) > 0
    else:
        (row,) = figures["rankings"]
        assert (row["size"], row["bits"]) == (500, 12) and row["ours, all in order"] > 0
    assert "Machine: " in table.read_text()


def test_what_orders_by_asymmetric_distance():
    query = [0.9, 0.1, 0.8, 0.45, 0.55]
    database = [[0, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 0, 1, 1, 0]]
    relaxed = np.array([query, *database], np.float32)
    # Hamming distances 1, 1 and 2; asymmetric distances 0.8, 0.6 and 0.2.
    figures = asymmetric.figures(relaxed, np.array([0, 1, 1, 0]), 1)
    assert figures == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3, 1 / 3])
    figures = asymmetric.figures(relaxed, np.array([0, 0, 1, 1]), 1)
    assert figures == pytest.approx([1, 1 / 2, 1 / 3, 1 / 3, 1 / 3])


def test_groups_of_copies_are_counted():
    names = [f"{i:05}_{kind}" for i in (3, 7, 9) for kind in ("a.png", "b.jpg", "c.png")]
    groups = [np.array(rows) for rows in ([0, 1, 2], [3, 4], [5, 6, 7])]
    assert duplicates.counts(groups, names) == (2, 1, 1)


def test_sub_networks_agree_about_bits():
    """Of four bits, two mean the same to both, one is opposed and one is constant for one."""
    labels = np.repeat([0, 1, 2], 2)
    query = np.array(
        [[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    )
    database = query ^ [0, 0, 1, 0]
    database[:, 3] = 1
    means = [sub_networks.class_means(bits, labels) for bits in (query, database)]
    assert means[0][0].tolist() == [1, 0.5, 0, 1]
    same, opposed, apart = sub_networks.agreement(*means)
    # Of the classes, bit 2 differs in all three, bit 3 in the last two.
    assert (same, opposed) == (2, 1) and apart == pytest.approx(5 / 3)
