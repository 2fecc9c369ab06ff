"""Nets and solvers: as committed, as the paper has them, and of one mind."""

import caffe
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from dnnh import nets, paths
from dnnh.errors import UserError


def parse(path, message):
    return text_format.Parse(path.read_text(), message)


def read_net(path):
    return parse(path, caffe_pb2.NetParameter())


MADE = {path: text for spec in nets.COMMITTED
        for path, text in nets.files_of(spec).items()}
# A user may have made more.
COMMITTED = sorted(MADE)


def test_the_committed_files_are_what_the_generator_makes():
    for path, text in MADE.items():
        assert path.read_text() == text, (
            f"{path.name} is not what python tools/make_prototxt.py writes")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_every_file_parses(path):
    if path.stem.endswith("solver"):
        solver = parse(path, caffe_pb2.SolverParameter())
        assert (paths.ROOT / solver.net).exists()
        assert (paths.ROOT / solver.snapshot_prefix).parent.is_dir()
        assert not solver.HasField("solver_mode")   # Caffe runs on the CPU; -gpu asks
        assert solver.momentum == pytest.approx(0.9)           # section 4.1
        assert solver.weight_decay == pytest.approx(0.0005)
        assert solver.max_iter % solver.snapshot == 0
    else:
        assert read_net(path).layer


def learnt(net):
    """Layers with weights, and what shapes them."""
    return {layer.name: (layer.type, str(layer.convolution_param),
                         str(layer.divide_and_encode_param))
            for layer in net.layer
            if layer.type in ("Convolution", "DivideAndEncode", "BatchNorm",
                              "PiecewiseThreshold")}


@pytest.mark.parametrize("spec", nets.COMMITTED, ids=lambda s: s.name)
def test_train_and_deploy_share_names_and_length(spec):
    train = read_net(spec.files["train_test"])
    deploy = read_net(spec.files["deploy"])
    assert learnt(train) == learnt(deploy)
    encode, = [layer for layer in train.layer if layer.type == "DivideAndEncode"]
    assert encode.divide_and_encode_param.num_output == spec.bits
    # Everything between the pixels and the codes is the same, layer by layer.
    names = [layer.name for layer in deploy.layer]
    shared = [layer for layer in train.layer if layer.name in names[1:]]
    assert [str(layer) for layer in shared] == [str(layer) for layer in deploy.layer[1:]]


@pytest.mark.parametrize("spec", nets.COMMITTED, ids=lambda s: s.name)
def test_what_the_paper_states(spec):
    net = read_net(spec.files["train_test"])
    by_type = {layer.type: layer for layer in net.layer}
    threshold = by_type["PiecewiseThreshold"].piecewise_threshold_param
    if spec.variant == "plus":
        # Ours: all triplets of a batch, a margin that grows with the bits, and the
        # threshold's schedule scaled to the run.
        loss = by_type["BatchTripletLoss"]
        assert loss.batch_triplet_loss_param.margin == pytest.approx(spec.bits / 16)
        assert list(loss.bottom) == ["codes", "labels"]
        solver = parse(spec.files["solver"], caffe_pb2.SolverParameter())
        assert solver.max_iter // threshold.stepsize == 3
    else:
        assert by_type["TripletRankingLoss"].triplet_ranking_loss_param.margin == 1
        assert threshold.stepsize == 20000
    assert threshold.epsilon == 0.5
    assert threshold.gamma == pytest.approx(0.8)
    convolutions = [layer for layer in net.layer if layer.type == "Convolution"]
    assert convolutions[-1].convolution_param.num_output == 50 * spec.bits
    rectified = {layer.bottom[0] for layer in net.layer if layer.type == "ReLU"}
    assert {layer.name for layer in convolutions} == rectified
    # No data layer reads anything but the triplet databases of training images.
    data = [layer for layer in net.layer if not layer.bottom]
    for layer in data:
        part = {(0, False): "train", (0, True): "validation_train",
                (1, True): "validation_test"}[
                    layer.include[0].phase, spec.validation]
        assert layer.triplet_data_param.source == (
            f"data/{spec.dataset}_{part}_images_lmdb")
    assert len(data) == 1 + spec.validation


def build(tmp_path, spec):
    """The deploy net, for one image, as Caffe builds it."""
    path = tmp_path / "deploy.prototxt"
    path.write_text(nets.deploy(spec).replace("dim: 100 ", "dim: 1 "))
    return caffe.Net(str(path), caffe.TEST)


def test_table_1(tmp_path):
    """Every output size of the paper's table 1, for 256x256 images."""
    net = build(tmp_path, nets.net_spec("nuswide", bits=48))
    table = [("conv1", 96, 54), ("cccp1", 96, 54), ("pool1", 96, 27),
             ("conv2", 256, 27), ("cccp2", 256, 27), ("pool2", 256, 13),
             ("conv3", 384, 13), ("cccp3", 384, 13), ("pool3", 384, 6),
             ("conv4", 1024, 6), ("cccp4", 50 * 48, 6), ("features", 50 * 48, 1)]
    sizes = [(name, *net.blobs[name].shape[1:]) for name, _, _ in table]
    assert sizes == [(name, channels, size, size) for name, channels, size in table]
    data, = [layer for layer in read_net(
        nets.net_spec("nuswide").files["train_test"]).layer if layer.type == "TripletData"]
    assert data.transform_param.crop_size == 224


@pytest.mark.parametrize("variant, sizes", [
    ("", [("cccp2", 96, 32), ("pool1", 96, 16), ("pool2", 192, 8), ("cccp6", 600, 8)]),
    ("lai", [("cccp1", 96, 32), ("pool1", 96, 16), ("pool2", 256, 8), ("pool3", 384, 4),
             ("conv4", 1024, 4), ("cccp4", 600, 4)])])
def test_towers_for_32x32_images(tmp_path, variant, sizes):
    net = build(tmp_path, nets.net_spec("cifar10", variant, 12))
    for name, channels, size in sizes:
        assert tuple(net.blobs[name].shape[1:]) == (channels, size, size)
    assert tuple(net.blobs["features"].shape[1:]) == (600, 1, 1)


def test_layouts_differ_in_their_data_alone():
    specs = {layout: nets.net_spec("cifar10", "bn", layout=layout)
             for layout in nets.LAYOUTS}
    assert [spec.name for spec in specs.values()] == [
        "cifar10_bn", "cifar10_bn_indexed", "cifar10_bn_dense"]
    assert len({spec.files["deploy"] for spec in specs.values()}) == 1
    made = {layout: text_format.Parse(nets.train_test(spec), caffe_pb2.NetParameter())
            for layout, spec in specs.items()}
    behind = {layout: [str(layer) for layer in net.layer][
        [layer.name for layer in net.layer].index("pixels"):]
        for layout, net in made.items()}
    assert behind["fresh"] == behind["indexed"] == behind["dense"]
    database = "data/cifar10_train_images_lmdb"
    fresh, indexed = (made[layout].layer[0].triplet_data_param
                      for layout in ("fresh", "indexed"))
    assert fresh.source == indexed.source == database
    assert not fresh.triplets and indexed.triplets == f"{database}/triplets.h5"
    assert made["dense"].layer[0].data_param.source == (
        "data/cifar10_train_triplets_lmdb")


@pytest.mark.parametrize("bits", [8, 13, 64])
def test_any_length_from_8_to_64(tmp_path, bits):
    net = build(tmp_path, nets.net_spec("digits", bits=bits))
    assert tuple(net.blobs["codes"].shape) == (1, bits)


@pytest.mark.parametrize("arguments, message", [
    (("cifar10", "", 7), "7 bits: codes have 8 to 64"),
    (("cifar10", "", 65), "65 bits"),
    (("mars", "", 48), "no net 'mars'; there are cifar10, "),
    (("cifar10", "x", 48), "no net 'cifar10_x'"),
    (("cifar10", "plus", 48, False, "dense"), "'cifar10_plus' forms its triplets inside"),
    (("cifar10", "", 48, False, "x"), "unknown layout 'x'; known ones: fresh, ")])
def test_bad_requests(arguments, message):
    with pytest.raises(UserError, match=message):
        nets.net_spec(*arguments)


def test_layer_field_numbers_are_far_from_upstreams():
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    ours = {f.name: f.number for f in fields if f.number >= 1000}
    assert ours == {"triplet_ranking_loss_param": 1000, "divide_and_encode_param": 1001,
                    "piecewise_threshold_param": 1002, "triplet_data_param": 1003,
                    "batch_triplet_loss_param": 1004}
    assert max(f.number for f in fields if f.number < 1000) < 200
