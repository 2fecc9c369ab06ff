"""Nets and solvers: as committed, as the paper has them, and of one mind."""

import dataclasses

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
    """The names of layers that keep something with the weights."""
    return {layer.name for layer in net.layer
            if layer.type in ("Convolution", "DivideAndEncode", "InnerProduct", "BatchNorm",
                              "Scale", "PiecewiseThreshold")}


@pytest.mark.parametrize("spec", nets.COMMITTED, ids=lambda s: s.name)
def test_train_and_deploy_share_names_and_length(spec):
    train = read_net(spec.files["train_test"])
    deploys = {kind: read_net(path) for kind, path in spec.files.items()
               if kind.endswith("deploy")}
    assert len(deploys) == (2 if spec.variant == "two" else 1)
    # What says how long a code is.
    kind, param = {
        "fc": ("InnerProduct", "inner_product_param"),
        **dict.fromkeys(("cnnh", "xia"), ("Convolution", "convolution_param")),
    }.get(spec.variant, ("DivideAndEncode", "divide_and_encode_param"))
    for deploy in deploys.values():
        last = [layer for layer in deploy.layer if layer.type == kind][-1]
        assert getattr(last, param).num_output == spec.bits
        # Everything between the pixels and the codes is the same, layer by layer.
        names = [layer.name for layer in deploy.layer]
        assert names[:2] == ["images", "pixels"]
        shared = [layer for layer in train.layer if layer.name in names[2:]]
        assert [str(layer) for layer in shared] == [str(layer) for layer in deploy.layer[2:]]
    # Nothing is trained but what codes, and the classifiers beside it.
    texts = [nets.deploy(dataclasses.replace(spec, bits=bits), subnetwork)
             for bits in spec.lengths.values() for subnetwork in spec.recipe.subnetworks]
    classifiers = {f"{head}classes" for head in spec.lengths if spec.recipe.classify}
    assert learnt(train) == classifiers.union(*(
        learnt(text_format.Parse(text, caffe_pb2.NetParameter())) for text in texts))


@pytest.mark.parametrize("spec", [
    spec for spec in nets.COMMITTED if not spec.recipe.two_stage], ids=lambda s: s.name)
def test_what_the_paper_states(spec):
    net = read_net(spec.files["train_test"])
    solver = parse(spec.files["solver"], caffe_pb2.SolverParameter())
    thresholds = [layer.piecewise_threshold_param for layer in net.layer
                  if layer.type == "PiecewiseThreshold"]
    # One of the two schedules: the paper's, or one scaled to the run. Both see epsilon
    # fall at least twice.
    stepsize = {"short": 1800, "fc": 1800, "two": 1800, "plus": 4000}.get(
        spec.variant, 20000)
    assert {threshold.stepsize for threshold in thresholds} == {stepsize}
    if spec.dataset == "cifar10":
        assert (solver.max_iter - 1) // stepsize >= 2
    for threshold in thresholds:
        assert threshold.epsilon == 0.5
        assert threshold.gamma == pytest.approx(0.8)
    if spec.variant != "plus":
        loss, = [layer for layer in net.layer if layer.type == "TripletRankingLoss"]
        assert loss.triplet_ranking_loss_param.margin == 1
    convolutions = [layer for layer in net.layer if layer.type == "Convolution"]
    assert 50 * spec.bits in {layer.convolution_param.num_output for layer in convolutions}
    rectified = {layer.bottom[0] for layer in net.layer if layer.type == "ReLU"}
    pooled = {layer.top[0]: layer.bottom[0] for layer in net.layer
              if layer.type == "Pooling"}
    assert {layer.name for layer in convolutions} == {
        pooled.get(name, name) for name in rectified}
    # No data layer reads anything but the triplet databases of training images.
    data = [layer for layer in net.layer if not layer.bottom]
    for layer in data:
        part = {(0, False): "train", (0, True): "validation_train",
                (1, True): "validation_test"}[
                    layer.include[0].phase, spec.validation]
        assert layer.triplet_data_param.source == (
            f"data/{spec.dataset}_{part}_images_lmdb")
    assert len(data) == 1 + spec.validation


def by_name(spec):
    return {layer.name: layer for layer in read_net(spec.files["train_test"]).layer}


def test_the_ablations_differ_in_what_they_ablate():
    """Figure 2b, and section 4.4: P for queries, Q for the two others."""
    short, fc, two = (by_name(nets.net_spec("cifar10", variant))
                      for variant in ("short", "fc", "two"))
    assert [name for name in short if str(short[name]) != str(fc[name])] == ["encode"]
    assert fc["encode"].type == "InnerProduct"
    assert fc["encode"].inner_product_param.num_output == 48
    names = list(short)
    for name in names[names.index("pixels") + 1:names.index("triplet_places")]:
        for subnetwork in ("query_", "database_"):
            assert str(two[subnetwork + name]) == str(short[name]).replace(
                'name: "', f'name: "{subnetwork}').replace(
                'bottom: "', f'bottom: "{subnetwork}').replace(
                'top: "', f'top: "{subnetwork}')
    assert list(two["both_pixels"].top) == ["query_pixels", "database_pixels"]
    assert two["query"].bottom[0] == "query_codes"
    assert two["similar"].bottom[0] == two["dissimilar"].bottom[0] == "database_codes"


def test_short_differs_in_its_schedule_alone():
    paper, short = (by_name(nets.net_spec("cifar10", variant)) for variant in ("", "short"))
    assert [name for name in paper if str(paper[name]) != str(short[name])] == ["codes"]
    assert nets.deploy(nets.net_spec("cifar10")).replace("cifar10:", "cifar10_short:").replace(
        '"cifar10"', '"cifar10_short"').replace("stepsize: 20000", "stepsize: 1800") == (
            nets.deploy(nets.net_spec("cifar10", "short")))


@pytest.mark.parametrize("variant", ["", "short", "fc", "two"])
@pytest.mark.parametrize("bits, offset", [(8, 0), (32, 0), (33, 0.5), (48, 0.5), (64, 0.5)])
def test_bits_of_long_codes_are_lowered(variant, bits, offset):
    """By so many of the standard deviations to which they are normalized."""
    spec = nets.net_spec("cifar10", variant, bits)
    net = text_format.Parse(nets.train_test(spec), caffe_pb2.NetParameter())
    scaled = [layer for layer in net.layer if layer.name.endswith("beta")]
    assert len(scaled) == len(spec.recipe.subnetworks)
    for layer in scaled:
        assert layer.power_param.scale == pytest.approx(1.4)
        assert layer.power_param.shift == pytest.approx(-1.4 * offset)


def test_cnnh_learns_codes_made_beforehand():
    """Section 4.1: the same tower, whose last convolution has an output for each bit."""
    ours, cnnh = (by_name(nets.net_spec("cifar10", variant, 12)) for variant in ("", "cnnh"))
    names = list(ours)
    for name in names[names.index("pixels"):names.index("cccp6")]:
        assert str(cnnh[name]) == str(ours[name])
    assert cnnh["cccp6"].convolution_param.num_output == 12
    assert "relu_cccp6" not in cnnh            # bits are negative, too
    data = cnnh["triplet_images"]
    assert data.triplet_data_param.source == "data/cifar10_train_12bit_codes_lmdb"
    assert data.triplet_data_param.images == 64
    assert not data.triplet_data_param.HasField("batch_size")
    assert list(cnnh["loss"].bottom) == ["outputs", data.top[1]]
    assert list(cnnh["codes"].bottom) == ["outputs"]


def test_triplets_among_the_images_of_a_batch(monkeypatch):
    """Each image is coded once; codes are brought together by their places."""
    for variant, one, two in (("short", "", ""), ("two", "query_", "database_")):
        recipe = dataclasses.replace(nets.RECIPES["cifar10", variant], images=64,
                                     triplets=100)
        monkeypatch.setitem(nets.RECIPES, ("cifar10", variant), recipe)
        net = text_format.Parse(nets.train_test(nets.net_spec("cifar10", variant)),
                                caffe_pb2.NetParameter())
        layers = {layer.name: layer for layer in net.layer}
        data = layers["triplet_images"]
        assert list(data.top) == ["images", "places"]
        assert (data.triplet_data_param.images, data.triplet_data_param.batch_size) == (
            64, 100)
        assert list(layers["triplet_places"].top) == [
            "query_places", "similar_places", "dissimilar_places"]
        for member, side in (("query", one), ("similar", two), ("dissimilar", two)):
            assert layers[member].type == "BatchReindex"
            assert list(layers[member].bottom) == [f"{side}codes", f"{member}_places"]
        assert list(layers["loss"].bottom) == ["query", "similar", "dissimilar"]


def test_another_seed_is_another_training_of_the_same_net():
    one, two = (nets.net_spec("cifar10", "short", 12, seed=seed) for seed in (1, 2))
    assert two.name == "cifar10_short_seed2_12bit"
    assert one.files["deploy"] == two.files["deploy"]
    assert nets.deploy(one) == nets.deploy(two)
    for make, field in ((nets.solver, "random_seed"), (nets.train_test, "    seed")):
        assert make(two).replace(two.name, one.name).replace(
            f"{field}: 2", f"{field}: 1") == make(one)
        assert f"{field}: 2" in make(two)


def test_fewer_iterations_are_the_same_schedules():
    usual, shorter = (nets.net_spec("mnist", "short", 12, iterations=n) for n in (0, 1500))
    assert shorter.name == "mnist_short_1500iterations_12bit"
    assert shorter.files["deploy"] == usual.files["deploy"]
    assert nets.solver(shorter).replace("1500iterations_", "") == nets.solver(usual).replace(
        "max_iter: 9000", "max_iter: 1500").replace("display: 100", "display: 30")
    assert nets.train_test(shorter).replace("1500iterations_", "").replace(
        "stepsize: 300", "stepsize: 1800") == nets.train_test(usual)


@pytest.mark.parametrize("iterations, until", [(0, 11500), (3000, 2500), (100, 50)])
def test_images_are_left_as_they_are_at_the_end(iterations, until):
    net = nets.train_test(nets.net_spec("cifar10", "plus", iterations=iterations))
    assert net.count(f"    distort_until: {until}\n") == 1


def test_nothing_settles_that_is_not_told_to():
    assert "distort_until" not in nets.train_test(
        nets.net_spec("cifar10", "short", iterations=100))


def test_two_subnetworks_need_a_name():
    with pytest.raises(UserError, match="'cifar10_two' are 'query_' and 'database_', not ''"):
        nets.deploy(nets.net_spec("cifar10", "two"))


def test_lengths_trained_together():
    """One tower, a head and a margin for each length; other lengths are trained alone."""
    plus = by_name(nets.net_spec("cifar10", "plus", 24))
    for bits in (12, 24, 32, 48):
        assert nets.net_spec("cifar10", "plus", bits).files["train_test"].name == (
            "cifar10_plus_train_test.prototxt")
        loss = plus[f"{bits}bit_loss"]
        assert loss.batch_triplet_loss_param.margin == pytest.approx(bits / 16)
        assert list(loss.bottom) == [f"{bits}bit_codes", "labels"]
        assert list(plus[f"{bits}bit_features"].bottom) == ["pool_conv4"]
    alone = nets.net_spec("cifar10", "plus", 16)
    assert alone.files["train_test"].name == "cifar10_plus_16bit_train_test.prototxt"
    assert "bit_codes" not in nets.train_test(alone)


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
    ("xia", [("pool1", 32, 16), ("pool2", 64, 8), ("pool3", 128, 4), ("full4", 500, 1)]),
    ("lai", [("cccp1", 96, 32), ("pool1", 96, 16), ("pool2", 256, 8), ("pool3", 384, 4),
             ("conv4", 1024, 4), ("cccp4", 600, 4)])])
def test_towers_for_32x32_images(tmp_path, variant, sizes):
    net = build(tmp_path, nets.net_spec("cifar10", variant, 12))
    for name, channels, size in sizes:
        assert tuple(net.blobs[name].shape[1:]) == (channels, size, size)
    last = "bits" if variant == "xia" else "features"
    assert tuple(net.blobs[last].shape[1:]) == (12 if variant == "xia" else 600, 1, 1)


def test_digits_are_not_mirrored_and_photographs_are():
    for dataset, mirrored in (("cifar10", True), ("nuswide", True), ("svhn", False),
                              ("mnist", False)):
        data, = [layer for layer in by_name(nets.net_spec(dataset)).values()
                 if layer.type == "TripletData"]
        assert data.transform_param.mirror == mirrored
    # The same variants everywhere that the paper measures.
    for dataset in ("cifar10", "svhn", "nuswide"):
        for variant in ("", "short", "fc", "two"):
            for bits in (12, 24, 32, 48):
                text_format.Parse(nets.train_test(nets.net_spec(dataset, variant, bits)),
                                  caffe_pb2.NetParameter())


def test_layouts_differ_in_their_data_alone():
    specs = {layout: nets.net_spec("cifar10", "bare", layout=layout)
             for layout in nets.LAYOUTS}
    assert [spec.name for spec in specs.values()] == [
        "cifar10_bare", "cifar10_bare_indexed", "cifar10_bare_dense"]
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
    (("mars", "", 48), "unknown data set 'mars'; known ones: cifar10, "),
    (("cifar10", "x", 48), "no net 'cifar10_x'"),
    (("cifar10", "", 48, False, "fresh", -1), "seed -1: seeds are 0 to"),
    (("cifar10", "", 48, False, "fresh", 2**31), "seed 2147483648"),
    (("cifar10", "", 48, False, "fresh", 1, -1), "-1 iterations: 1 to 10,000,000"),
    (("cifar10", "bare", 48, False, "fresh", 1, 100), "falls by steps of its own"),
    (("cifar10", "plus", 48, False, "dense"), "'cifar10_plus' forms its triplets of"),
    (("cifar10", "", 48, False, "indexed"), "'cifar10' forms its triplets of"),
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
