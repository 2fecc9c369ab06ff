"""Encoding without Caffe: its codes, the nets of an index, and hostile model files."""

import re
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from dnnh import files, limits, paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, onnx_encoder, onnx_export, prototxt, runtimes
from dnnh.nets.net_info import NetInfo
from dnnh.nets.onnx_encoder import OnnxEncoder
from dnnh.nets.specs import net_spec
from dnnh.nets.weights import Weights
from exported import METADATA
from random_nets import random_weights

SPEC = net_spec("digits", bits=12)
DEPLOY = prototxt.deploy_text(SPEC)
IMAGES = np.random.default_rng(2).integers(0, 256, (123, 8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A net whose threshold rounds some outputs and leaves others."""
    net = caffe_encoder.build(caffe_encoder.parse(DEPLOY))
    random_weights(net)
    net.params["codes"][0].data[...] = 1000
    path = tmp_path_factory.mktemp("net") / "net.caffemodel"
    net.save(str(path))
    return path


@pytest.fixture(scope="module")
def exported(weights):
    path = weights.with_name("net.onnx")
    path.write_bytes(onnx_export.export(DEPLOY, weights, METADATA))
    return path


def test_it_encodes_as_caffe_does(weights, exported):
    ours = OnnxEncoder(onnx_encoder.read(exported))
    theirs = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    assert (ours.bits, ours.image_shape) == (theirs.bits, theirs.image_shape) == (12, (1, 8, 8))
    outputs = ours.outputs(IMAGES)
    assert np.allclose(outputs, theirs.outputs(IMAGES), atol=1e-5)
    unrounded = ours.unrounded_outputs(IMAGES)
    assert np.allclose(unrounded, theirs.unrounded_outputs(IMAGES), atol=1e-5)
    assert (outputs != unrounded).any() and (outputs == unrounded).any()
    assert (ours.encode(IMAGES) == theirs.encode(IMAGES)).all()
    assert ours.outputs(IMAGES[:0]).shape == (0, 12)
    with pytest.raises(UserError, match="do not fit a net"):
        ours.outputs(IMAGES[:, :7])


def test_codes_longer_than_an_index_takes(exported, monkeypatch):
    monkeypatch.setattr(onnx_encoder.packed_codes, "MAX_BITS", 11)
    with pytest.raises(UserError, match="net.onnx has codes of 12 bits, not of 1 to 11"):
        onnx_encoder.read(exported)


def test_float_images_channels_first(weights, exported):
    path = weights.with_name("nchw.onnx")
    path.write_bytes(onnx_export.export(DEPLOY, weights, METADATA, "nchw"))
    session = onnxruntime.InferenceSession(path.read_bytes())
    assert (session.get_inputs()[0].type, session.get_inputs()[0].shape) == (
        "tensor(float)",
        ["n", 1, 8, 8],
    )
    one, other = (OnnxEncoder(onnx_encoder.read(path)) for path in (path, exported))
    assert one.image_shape == other.image_shape
    assert np.array_equal(one.outputs(IMAGES), other.outputs(IMAGES))
    images = IMAGES.transpose(0, 3, 1, 2).astype(np.float32)
    codes, _, _ = session.run(None, {"images": images})
    assert np.array_equal(codes, other.outputs(IMAGES))


def test_a_model_says_what_it_is(weights, exported):
    model = onnx_encoder.read(exported)
    net = runtimes.by_onnx(model)
    caffe_net = runtimes.by_caffe(SPEC, Weights(weights, "ours"), "database")
    assert net.info == caffe_net.info and net.info.weights == files.sha256(weights)
    assert (net.input.stored_size, net.input.channels) == (8, 1)
    assert not net.gives_features and "12 bits of dnnh of digits" in net.description


def mutated(exported, change, signed=True):
    """The model's bytes after a change of its message."""
    model = onnx.load_model(exported)
    change(model)
    if signed:
        (digest,) = (entry for entry in model.metadata_props if entry.key == "digest")
        digest.value = onnx_encoder.digest_of(model)
    return model.SerializeToString()


def metadata(**values):
    def change(model):
        about = {entry.key: entry.value for entry in model.metadata_props} | values
        helper.set_model_props(
            model, {name: text for name, text in about.items() if text is not None}
        )

    return change


def external(model):
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")


def operator(kind, domain=""):
    def change(model):
        model.graph.node[3].op_type, model.graph.node[3].domain = kind, domain

    return change


def huge(model):
    """Pads the pixels to billions of values."""
    ends = onnx.numpy_helper.from_array(np.array([0] * 6 + [1 << 16] * 2), "ends")
    model.graph.initializer.append(ends)
    node = model.graph.node[1]
    model.graph.node.insert(2, helper.make_node("Pad", [node.output[0], "ends"], ["padded"]))
    model.graph.node.insert(
        3, helper.make_node("AveragePool", ["padded"], ["averaged"], kernel_shape=[9000, 9000])
    )


def many_rows(model):
    """Pads a constant to a billion rows: its first axis is not of the batch."""
    one = onnx.numpy_helper.from_array(np.zeros((1, 1), np.float32), "one")
    ends = onnx.numpy_helper.from_array(np.array([0, 0, 1 << 30, 0]), "ends")
    model.graph.initializer.extend([one, ends])
    model.graph.node.insert(0, helper.make_node("Pad", ["one", "ends"], ["rows"]))


def many_images(model):
    """Pads the batch to a billion images."""
    ends = onnx.numpy_helper.from_array(np.array([0] * 4 + [1 << 30] + [0] * 3), "ends")
    model.graph.initializer.append(ends)
    node = model.graph.node[1]
    model.graph.node.insert(2, helper.make_node("Pad", [node.output[0], "ends"], ["images+"]))


def every_image_with_every_other(model):
    """Multiplies the pixels of a batch by each other: a value for each two images. Two more
    images, of zeros, hide that from who looks at one or two."""
    ends = onnx.numpy_helper.from_array(np.array([0] * 4 + [2] + [0] * 3), "ends")
    model.graph.initializer.append(ends)
    node = model.graph.node[1]
    added = [
        helper.make_node("Pad", [node.output[0], "ends"], ["images+"]),
        helper.make_node("Flatten", ["images+"], ["flat"]),
        helper.make_node("Gemm", ["flat", "flat"], ["pairs"], transB=1),
    ]
    for i, each in enumerate(added, 2):
        model.graph.node.insert(i, each)


def of_unknown_size(model):
    """Pads by a sum that nobody knows beforehand."""
    ends = onnx.numpy_helper.from_array(np.array([0] * 6 + [1 << 15] * 2), "ends")
    model.graph.initializer.append(ends)
    node = model.graph.node[1]
    model.graph.node.insert(2, helper.make_node("Add", ["ends", "ends"], ["sum"]))
    model.graph.node.insert(3, helper.make_node("Pad", [node.output[0], "sum"], ["padded"]))


def output_of_another_kind(model):
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def constant_output(model):
    del model.graph.output[1]


HOSTILE = {
    "bytes": (lambda exported: b"\0\1\2 no model" * 9, "is not an ONNX model of a net"),
    "cut": (lambda exported: exported.read_bytes()[:-3000], "is not an ONNX model"),
    "empty": (lambda exported: b"", "it has no digest"),
    "metadata": (metadata(method=None), "does not say its method"),
    "tower": (metadata(tower="third"), "has metadata that tools/export.py does not write"),
    "sha256": (metadata(weights_sha256="12"), "has metadata that"),
    "size": (metadata(stored_size="7"), "takes images of 8x8x1, resized to 7"),
    "number": (metadata(stored_size="much"), "is not an ONNX model of a net .*much"),
    "vast": (metadata(stored_size="100000"), "resized to 100000"),
    "external": (external, "has weights in another file"),
    "operator": (operator("Loop"), "has operators that no net here has: Loop"),
    "domain": (operator("Relu", "evil"), "evil.Relu"),
    "huge": (huge, r"computes 4,\d+,\d+,\d+ values of an image in one step"),
    "rows": (many_rows, "computes 1,073,741,825 values of an image in one step"),
    "images": (many_images, r"computes 68,719,476,800 values of an image in one step"),
    "pairs": (every_image_with_every_other, "has a value 'pairs' that grows faster than the batch"),
    "unknown": (of_unknown_size, "has a value '.*' of unknown size"),
    "double": (output_of_another_kind, "is not an ONNX model of a net"),
    "outputs": (constant_output, "has the outputs"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_other_models_are_refused(exported, tmp_path, kind):
    change, message = HOSTILE[kind]
    path = tmp_path / "other.onnx"
    makes_bytes = kind in ("bytes", "cut", "empty")
    path.write_bytes(change(exported) if makes_bytes else mutated(exported, change))
    with pytest.raises(UserError, match=message) as raised:
        onnx_encoder.read(path)
    assert str(raised.value).startswith(str(path)) and "tools/export.py" in str(raised.value)


@pytest.mark.parametrize("change", [metadata(stored_size="9"), operator("Relu")])
def test_a_model_that_was_changed(exported, tmp_path, change):
    path = tmp_path / "other.onnx"
    path.write_bytes(mutated(exported, change, signed=False))
    with pytest.raises(UserError, match="other.onnx was changed since tools/export.py wrote it"):
        onnx_encoder.read(path)


def test_a_model_that_diverged(exported, tmp_path):
    def change(model):
        tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
        tensor.raw_data = np.full(tuple(tensor.dims), np.nan, np.float32).tobytes()

    path = tmp_path / "nan.onnx"
    path.write_bytes(mutated(exported, change))
    with pytest.raises(UserError, match=r"nan\.onnx gives outputs that are not finite"):
        OnnxEncoder(onnx_encoder.read(path)).outputs(IMAGES)


def test_a_large_file_is_not_read(exported, monkeypatch):
    monkeypatch.setattr(limits, "WEIGHTS_BYTES", 100)
    with pytest.raises(UserError, match="100 bytes"):
        onnx_encoder.read(exported)


@pytest.mark.parametrize(
    ("runtime", "model", "chosen"),
    [
        (None, None, "caffe"),
        (None, "a.onnx", "onnx"),
        (None, "a.caffemodel", "caffe"),
        ("onnx", None, "onnx"),
        ("onnx", "a.onnx", "onnx"),
        ("onnx", "a.caffemodel", None),
        ("caffe", "a.onnx", None),
    ],
)
def test_the_runtime_goes_with_the_model(runtime, model, chosen, tmp_path):
    path = tmp_path / model if model else None
    if chosen:
        assert runtimes.choose(runtime, path) == chosen
    else:
        with pytest.raises(UserError, match=f"--runtime {runtime} does not take"):
            runtimes.choose(runtime, path)


def test_without_caffe_the_runtime_is_onnx(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert runtimes.choose(None, None) == "onnx"


def test_the_net_of_an_index(weights, exported, tmp_path, monkeypatch):
    """By either runtime, found by its weights; others are refused."""
    monkeypatch.setattr(paths, "SNAPSHOTS", tmp_path)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    info = onnx_encoder.read(exported).info
    wanted = runtimes.of_index(info, model=weights).encoder.outputs(IMAGES)
    assert np.allclose(
        runtimes.of_index(info, model=exported).encoder.outputs(IMAGES), wanted, atol=1e-5
    )
    with pytest.raises(UserError, match=r"other weights than any \*.onnx in snapshots/"):
        runtimes.of_index(info, "onnx")
    (tmp_path / "another.onnx").write_bytes(b"none")
    of_database = onnx_export.export(DEPLOY, weights, {**METADATA, "tower": "database"})
    (tmp_path / "database.onnx").write_bytes(of_database)
    with pytest.raises(UserError, match="other weights than any"):
        runtimes.of_index(info, "onnx")
    (tmp_path / "one.onnx").write_bytes(exported.read_bytes())
    assert runtimes.of_index(info, "onnx").path == tmp_path / "one.onnx"
    with pytest.raises(UserError, match="--gpu is for Caffe"):
        runtimes.of_index(info, "onnx", gpu=0)
    # Weights are the same by whatever schedule's name they were exported.
    renamed = onnx_export.export(DEPLOY, weights, {**METADATA, "schedule": "77"})
    (tmp_path / "renamed.onnx").write_bytes(renamed)
    runtimes.of_index(info, model=tmp_path / "renamed.onnx")
    other = onnx_export.export(DEPLOY, weights, {**METADATA, "method": "dnnh_minimal"})
    (tmp_path / "other.onnx").write_bytes(other)
    with pytest.raises(UserError, match=re.escape(f"other weights than {tmp_path}/other.onnx")):
        runtimes.of_index(info, model=tmp_path / "other.onnx")


def test_without_the_packages_it_says_so(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    info = NetInfo(12, "digits", "dnnh", "1000", "0" * 64)
    with pytest.raises(UserError, match="--runtime onnx needs the packages of the extra onnx"):
        runtimes.of_index(info, "onnx")
    with pytest.raises(UserError, match=r"net\.onnx needs the packages of the extra onnx"):
        onnx_encoder.read(exported)


def test_an_exported_net_is_found_by_its_name(weights, exported, tmp_path, monkeypatch):
    snapshots = tmp_path / "snapshots"
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "SNAPSHOTS", snapshots)
    snapshots.mkdir()
    with pytest.raises(UserError, match=r"digits_dnnh_12bit.onnx does not exist; .*export.py"):
        runtimes.read_exported(SPEC, "database")
    (snapshots / "digits_dnnh_12bit.onnx").write_bytes(exported.read_bytes())
    assert runtimes.read_exported(SPEC, "query").info.bits == 12
    snapshot = snapshots / "digits_dnnh_12bit_iter_5.caffemodel"
    snapshot.write_bytes(weights.read_bytes())
    assert runtimes.read_exported(SPEC, "query").info.bits == 12
    snapshot.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(UserError, match="exported from other weights than snapshots/digits"):
        runtimes.read_exported(SPEC, "query")
