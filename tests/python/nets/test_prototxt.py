"""Nets and solvers: as committed, as the paper has them, and consistent with each other."""

from dataclasses import replace

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import configs, net_config, prototxt, specs
from dnnh.nets.net_config import TripletsAmongImages
from dnnh.nets.specs import net_spec

COMMITTED = specs.committed()
OTHER_METHODS = ("cnnh", "cnnh_star", "drsch", "dsrh")  # whose bits are outputs of the tower
WRITTEN = {path: text for spec in COMMITTED for path, text in prototxt.texts(spec).items()}


def by_name(net):
    return {layer.name: layer for layer in net.layer}


def train_layers(*arguments, **options):
    return by_name(prototxt.train_net(net_spec(*arguments, **options)))


def set_config(monkeypatch, dataset, method, **changes):
    """Change or add a method's configuration for one test."""
    config = configs.CONFIGS[dataset].get(method, configs.CONFIGS[dataset]["dnnh"])
    monkeypatch.setitem(configs.CONFIGS[dataset], method, replace(config, **changes))


def test_the_committed_files_are_what_the_generator_makes():
    for path, text in WRITTEN.items():
        assert path.read_text() == text, (
            f"{path.name} is not what python tools/make_prototxt.py writes"
        )
    tracked = {path for path in paths.PROTOTXT.rglob("*.prototxt") if "generated" not in path.parts}
    assert tracked == set(WRITTEN)


@pytest.mark.parametrize("path", sorted(WRITTEN), ids=lambda path: path.stem)
def test_every_file_parses(path):
    if path.stem.endswith("solver"):
        solver = prototxt.read_solver(path)
        assert (paths.ROOT / solver.net).exists()
        assert (paths.ROOT / solver.snapshot_prefix).parent.is_dir()
        assert not solver.HasField("solver_mode")  # Caffe runs on the CPU unless -gpu is given
        assert solver.momentum == pytest.approx(0.9)  # section 4.1
        assert solver.weight_decay == pytest.approx(0.0005)
        assert solver.max_iter % solver.snapshot == 0
    else:
        assert prototxt.read_net(path).layer


def learned(net):
    """The names of layers that keep something with the weights."""
    types = (
        "Convolution",
        "DivideAndEncode",
        "InnerProduct",
        "BatchNorm",
        "Scale",
        "PiecewiseThreshold",
        "SlopeSigmoid",
    )
    return {layer.name for layer in net.layer if layer.type in types}


@pytest.mark.parametrize("spec", COMMITTED, ids=lambda spec: spec.name)
def test_train_and_deploy_share_names_and_length(spec):
    train = prototxt.read_net(spec.files["train_test"])
    deploys = {
        kind: prototxt.read_net(path)
        for kind, path in spec.files.items()
        if kind.endswith("deploy")
    }
    assert len(deploys) == (2 if spec.method == "dnnh_two_towers" else 1)
    # The layer that says how long a code is.
    kind, param = {
        "dnnh_fc": ("InnerProduct", "inner_product_param"),
        **dict.fromkeys(OTHER_METHODS, ("Convolution", "convolution_param")),
    }.get(spec.method, ("DivideAndEncode", "divide_and_encode_param"))
    for deploy in deploys.values():
        last = [layer for layer in deploy.layer if layer.type == kind][-1]
        assert getattr(last, param).num_output == spec.bits
        # Everything between the pixels and the codes is the same, layer by layer.
        names = [layer.name for layer in deploy.layer]
        assert names[:2] == ["images", "pixels"]
        shared = [layer for layer in train.layer if layer.name in names[2:]]
        deployed = list(deploy.layer[2:])
        assert shared == deployed
    # Nothing is trained but what encodes, and what only the losses need.
    encoding = set()
    for bits in spec.lengths.values():
        for tower in spec.config.towers:
            encoding |= learned(prototxt.deploy_net(replace(spec, bits=bits), tower))
    beside = {"bit_weights"} if spec.method == "drsch" else set()
    if spec.method == "dnnh_plus":
        beside = {f"{head}classes" for head in spec.lengths}
    assert learned(train) == encoding | beside


@pytest.mark.parametrize(
    "spec",
    [spec for spec in COMMITTED if spec.method not in OTHER_METHODS],
    ids=lambda spec: spec.name,
)
def test_what_the_paper_states(spec):
    net = prototxt.read_net(spec.files["train_test"])
    solver = prototxt.read_solver(spec.files["solver"])
    thresholds = [
        layer.piecewise_threshold_param for layer in net.layer if layer.type == "PiecewiseThreshold"
    ]
    # The paper's schedule, or one scaled to the training. In both epsilon decays at least twice.
    stepsize = {"short": 1800, "1000": 200, "12000": 4000}.get(spec.schedule, 20000)
    assert {threshold.stepsize for threshold in thresholds} == {stepsize}
    if spec.dataset in ("cifar10", "digits"):
        assert (solver.max_iter - 1) // stepsize >= 2
    for threshold in thresholds:
        assert threshold.epsilon == 0.5
        assert threshold.gamma == pytest.approx(0.8)
    if spec.method != "dnnh_plus":
        (loss,) = [layer for layer in net.layer if layer.type == "TripletRankingLoss"]
        assert loss.triplet_ranking_loss_param.margin == 1
    convolutions = [layer for layer in net.layer if layer.type == "Convolution"]
    assert 50 * spec.bits in {layer.convolution_param.num_output for layer in convolutions}
    rectified = {layer.bottom[0] for layer in net.layer if layer.type == "ReLU"}
    pooled = {layer.top[0]: layer.bottom[0] for layer in net.layer if layer.type == "Pooling"}
    assert {layer.name for layer in convolutions} == {pooled.get(name, name) for name in rectified}


@pytest.mark.parametrize("split", specs.SPLITS)
@pytest.mark.parametrize("method", ["dnnh", "dnnh_minimal", "dnnh_plus"])
def test_data_layers_read_training_images_only(method, split):
    net = prototxt.train_net(net_spec("cifar10", method, split=split))
    sources = {
        (layer.include[0].phase, layer.triplet_data_param.source)
        for layer in net.layer
        if not layer.bottom
    }
    expected = {
        "test": {(caffe.TRAIN, "data/cifar10_train_images_lmdb")},
        "validation": {
            (caffe.TRAIN, "data/cifar10_validation_train_images_lmdb"),
            (caffe.TEST, "data/cifar10_validation_test_images_lmdb"),
        },
    }
    assert sources == expected[split]


@pytest.mark.parametrize("method", sorted(configs.CONFIGS["cifar10"]))
def test_the_validation_split_of_all_methods(method):
    """Images that are held out have no target codes, and an LMDB for all other methods."""
    spec = net_spec("cifar10", method, split="validation")
    held_out = {
        layer.triplet_data_param.source
        for layer in prototxt.train_net(spec).layer
        if layer.include and layer.include[0].phase == caffe.TEST
    }
    has_target_codes = method in ("cnnh", "cnnh_star")
    assert held_out == (set() if has_target_codes else {"data/cifar10_validation_test_images_lmdb"})
    assert bool(prototxt.solver(spec).test_iter) == bool(held_out)


def test_the_ablations_differ_in_what_they_ablate():
    """Figure 2b, and section 4.4: P for queries, Q for the two others."""
    short, fc, two = (
        train_layers("cifar10", method, schedule="short")
        for method in ("dnnh", "dnnh_fc", "dnnh_two_towers")
    )
    assert [name for name in short if short[name] != fc[name]] == ["encode"]
    assert fc["encode"].type == "InnerProduct"
    assert fc["encode"].inner_product_param.num_output == 48
    names = list(short)
    for name in names[names.index("pixels") + 1 : names.index("triplet_positions")]:
        for tower in ("query_", "database_"):
            text = str(short[name])
            for field in ("name", "bottom", "top"):
                text = text.replace(f'{field}: "', f'{field}: "{tower}')
            assert str(two[tower + name]) == text
    assert list(two["both_pixels"].top) == ["query_pixels", "database_pixels"]
    assert two["query"].bottom[0] == "query_codes"
    assert two["positive"].bottom[0] == two["negative"].bottom[0] == "database_codes"


def test_schedules_differ_in_epsilon_and_solver_alone():
    paper, short = (train_layers(schedule=schedule) for schedule in ("paper", "short"))
    assert [name for name in paper if paper[name] != short[name]] == ["codes"]
    deploys = [
        by_name(prototxt.deploy_net(net_spec(schedule=schedule))) for schedule in ("paper", "short")
    ]
    assert [name for name in deploys[0] if deploys[0][name] != deploys[1][name]] == ["codes"]
    stepsizes = [deploy["codes"].piecewise_threshold_param.stepsize for deploy in deploys]
    assert stepsizes == [20000, 1800]


@pytest.mark.parametrize("schedule", ["paper", "short"])
@pytest.mark.parametrize("method", ["dnnh", "dnnh_fc", "dnnh_two_towers"])
@pytest.mark.parametrize(("bits", "bias"), [(8, 0), (32, 0), (33, 0.5), (48, 0.5), (64, 0.5)])
def test_long_codes_have_a_bit_bias(method, schedule, bits, bias):
    """In standard deviations of the normalized bits."""
    spec = net_spec("cifar10", method, bits, schedule)
    scaled = [layer for layer in prototxt.train_net(spec).layer if layer.name.endswith("beta")]
    assert len(scaled) == len(spec.config.towers)
    for layer in scaled:
        assert layer.power_param.scale == pytest.approx(1.4)
        assert layer.power_param.shift == pytest.approx(-1.4 * bias)


def test_cnnh_star_learns_codes_made_beforehand():
    """Section 4.1: the same tower, whose last convolution has an output for each bit."""
    dnnh, cnnh_star = (train_layers("cifar10", method, 12) for method in ("dnnh", "cnnh_star"))
    names = list(dnnh)
    for name in names[names.index("pixels") : names.index("cccp6")]:
        assert cnnh_star[name] == dnnh[name]
    assert cnnh_star["cccp6"].convolution_param.num_output == 12
    assert "relu_cccp6" not in cnnh_star  # outputs may be negative
    data = cnnh_star["triplet_images"]
    assert data.triplet_data_param.source == "data/cifar10_train_12bit_codes_lmdb"
    assert data.triplet_data_param.images == 64
    assert not data.triplet_data_param.HasField("batch_size")
    assert list(cnnh_star["loss"].bottom) == ["outputs", data.top[1]]
    assert list(cnnh_star["codes"].bottom) == ["outputs"]


def test_the_triplet_loss_has_a_weight():
    """A tenth behind a pretrained tower; 1, which is Caffe's default, elsewhere."""
    layers = train_layers("cifar10", "dnnh_pretrained", 12)
    assert [*layers["12bit_loss"].loss_weight] == pytest.approx([0.1])
    assert layers["12bit_encode"].type == "InnerProduct"
    assert not train_layers("cifar10", "dnnh_plus", 12)["12bit_loss"].loss_weight


def test_label_smoothing_is_cross_entropy_with_softened_labels(monkeypatch, tmp_path):
    """Szegedy et al., CVPR 2016: 0.2 of each label is spread over all classes."""
    loss = configs.CONFIGS["cifar10"]["dnnh_plus"].loss
    smoothed = replace(loss, classification_weight=3, label_smoothing=0.2)
    set_config(monkeypatch, "cifar10", "dnnh_plus", loss=smoothed, joint_lengths=())
    names = ("class_loss", "shares", "log_shares", "uniform_loss")
    net = caffe_pb2.NetParameter()
    for name, shape in (("class_scores", [5, 10]), ("labels", [5])):
        net.layer.add(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})
    layers = train_layers("cifar10", "dnnh_plus", 12)
    net.layer.extend(layers[name] for name in names)
    prototxt.write(tmp_path / "net.prototxt", net)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(5, 10)), rng.integers(10, size=5)
    net.blobs["class_scores"].data[...] = outputs
    net.blobs["labels"].data[...] = labels
    net.forward()
    logarithms = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    targets = 0.8 * np.eye(10)[labels] + 0.2 / 10
    expected = -3 * (targets * logarithms).sum(axis=1).mean()
    found = sum(
        net.blobs[name].data * layers[name].loss_weight[0]
        for name in ("class_loss", "uniform_loss")
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_pretrained_tower_learns_slowly_and_sees_larger_images():
    train, deploy = (
        by_name(of_net(net_spec("cifar10", "dnnh_pretrained", 48)))
        for of_net in (prototxt.train_net, prototxt.deploy_net)
    )
    for net in (train, deploy):
        assert list(net["resize"].bottom) == ["small_pixels"]
        assert net["resize"].resize_param.size == 129
        assert list(net["stem"].bottom) == ["pixels"]
    assert deploy["images"].input_param.shape[0].dim[2:] == [32, 32]
    tower = [layer for name, layer in train.items() if name.startswith(("block", "scale_block"))]
    rates = {round(param.lr_mult, 6) for layer in tower for param in layer.param}
    assert len(tower) > 100 and rates == {0.2}
    assert [param.lr_mult for param in train["48bit_encode"].param] == [1, 2]
    assert {tuple(train[f"{bits}bit_encode"].bottom) for bits in (12, 24, 32, 48)} == {("average",)}
    # Images of 129 pixels have an odd side in every stage.
    strides = [layer.convolution_param.stride[:] for layer in tower if layer.type == "Convolution"]
    assert strides.count([2]) == 4


def test_no_new_layer_has_the_name_of_a_pretrained_one():
    """`caffe train -weights` takes weights by name; ImageNet's have the layer `classes`."""
    for bits in (16, 48):
        net = prototxt.train_net(net_spec("cifar10", "dnnh_pretrained", bits))
        (classes,) = [
            layer.name
            for layer in net.layer
            if layer.type == "InnerProduct"
            and layer.inner_product_param.num_output == 10
            and layer.name.startswith("48bit" if bits == 48 else "class")
        ]
        assert classes == ("48bit_classes" if bits == 48 else "class_scores")


def test_dsrh_hashes_both_fully_connected_layers():
    """Zhao et al., CVPR 2015; the first of them as it is before its dropout."""
    dsrh = train_layers("cifar10", "dsrh", 24)
    assert list(dsrh["full"].bottom) == ["full5", "full4"]
    assert list(dsrh["drop4"].top) == ["drop4"] and list(dsrh["drop5"].top) == ["full5"]
    assert list(dsrh["full5"].bottom) == ["drop4"]
    assert list(dsrh["bits"].bottom) == ["full"]
    assert dsrh["bits"].convolution_param.num_output == 24
    assert dsrh["codes"].type == "Sigmoid"
    assert list(dsrh["loss"].bottom) == ["codes", "labels"]
    # 5 bits of 64 in the authors' code.
    assert dsrh["loss"].ranking_list_loss_param.margin == pytest.approx(5 * 24 / 64)


def test_pseudo_labels_are_trained_on_and_not_tested_with():
    plus, semi = (
        prototxt.train_net(net_spec("cifar10", method, split="validation"))
        for method in ("dnnh_plus", "dnnh_semi")
    )
    different = [i for i, layer in enumerate(plus.layer) if layer != semi.layer[i]]
    assert different == [0] and semi.layer[0].include[0].phase == caffe.TRAIN
    source = semi.layer[0].triplet_data_param.source
    assert source == "data/cifar10_validation_train_pseudo_labelled_images_lmdb"


def test_drsch_weighs_bits_in_training_alone():
    """Zhang et al., TIP 2015. Its steps of the slope end before the training does."""
    spec = net_spec("cifar10", "drsch", 24)
    drsch = train_layers("cifar10", "drsch", 24)
    assert drsch["bit_weights"].type == "Scale"
    assert not drsch["bit_weights"].scale_param.bias_term
    assert list(drsch["loss"].bottom) == ["weighted_codes", "labels"]
    loss = drsch["loss"].batch_triplet_loss_param
    assert loss.margin == pytest.approx(24 / 8)  # q / 2 where codes are from -1 to 1
    assert loss.adjacency > 0
    slope = drsch["codes"].slope_sigmoid_param
    steps = (spec.schedule_config.solver.max_iter - 1) // slope.stepsize
    assert steps == 30
    assert "bit_weights" not in by_name(prototxt.deploy_net(spec))


@pytest.mark.parametrize(
    ("method", "query_tower", "database_tower"),
    [("dnnh", "", ""), ("dnnh_two_towers", "query_", "database_")],
)
def test_triplets_among_the_images_of_a_batch(monkeypatch, method, query_tower, database_tower):
    """Each image is encoded once; codes are gathered by their positions."""
    set_config(monkeypatch, "cifar10", method, batch=TripletsAmongImages(64, 100))
    layers = train_layers("cifar10", method)
    data = layers["triplet_images"]
    assert list(data.top) == ["images", "positions"]
    assert data.triplet_data_param.images == 64
    assert data.triplet_data_param.batch_size == 100
    positions = ["query_positions", "positive_positions", "negative_positions"]
    assert list(layers["triplet_positions"].top) == positions
    for member, tower in (
        ("query", query_tower),
        ("positive", database_tower),
        ("negative", database_tower),
    ):
        assert layers[member].type == "BatchReindex"
        assert list(layers[member].bottom) == [f"{tower}codes", f"{member}_positions"]
    assert list(layers["loss"].bottom) == ["query", "positive", "negative"]


def test_two_towers_slice_joined_triplets(monkeypatch):
    """P sees the first third of the batch, the queries; Q the others."""
    set_config(monkeypatch, "cifar10", "dnnh_two_towers", batch=net_config.Triplets(7))
    layers = train_layers("cifar10", "dnnh_two_towers")
    assert list(layers["triplet_pixels"].slice_param.slice_point) == [7]
    assert list(layers["pair_codes"].bottom) == ["database_codes"]
    assert list(layers["loss"].bottom) == ["query_codes", "positive", "negative"]


def test_another_seed_is_another_training_of_the_same_net():
    one, two = (net_spec(bits=12, schedule="short", train_seed=seed) for seed in (1, 2))
    assert two.name == "cifar10_dnnh_short_seed2_12bit"
    assert one.files["deploy"] == two.files["deploy"]
    assert prototxt.deploy_net(one) == prototxt.deploy_net(two)
    solvers = [prototxt.solver(spec) for spec in (one, two)]
    assert [solver.random_seed for solver in solvers] == [1, 2]
    nets = [by_name(prototxt.train_net(spec)) for spec in (one, two)]
    assert [name for name in nets[0] if nets[0][name] != nets[1][name]] == ["triplet_images"]
    seeds = [net["triplet_images"].triplet_data_param.seed for net in nets]
    assert seeds == [1, 2]


def test_a_number_of_iterations_stretches_the_short_schedule():
    usual, shorter = (net_spec("mnist", bits=12, schedule=s) for s in ("short", "1500"))
    assert shorter.name == "mnist_dnnh_1500iterations_12bit"
    solvers = [prototxt.solver(spec) for spec in (usual, shorter)]
    assert [solver.max_iter for solver in solvers] == [9000, 1500]
    assert [solver.display for solver in solvers] == [100, 30]
    nets = [by_name(prototxt.train_net(spec)) for spec in (usual, shorter)]
    assert [name for name in nets[0] if nets[0][name] != nets[1][name]] == ["codes"]
    stepsizes = [net["codes"].piecewise_threshold_param.stepsize for net in nets]
    assert stepsizes == [1800, 300]


@pytest.mark.parametrize(("schedule", "until"), [(None, 11500), ("3000", 2500), ("100", 50)])
def test_augmentation_is_off_for_the_last_iterations(schedule, until):
    data = train_layers("cifar10", "dnnh_plus", schedule=schedule)["triplet_images"]
    assert data.triplet_data_param.augment_until == until


def test_augmentation_stays_on_unless_configured():
    data = train_layers(schedule="100")["triplet_images"]
    assert not data.triplet_data_param.HasField("augment_until")


def test_two_towers_need_a_name():
    spec = net_spec("cifar10", "dnnh_two_towers")
    with pytest.raises(UserError, match="_48bit' are 'query_' and 'database_', not ''"):
        prototxt.deploy_net(spec)


def test_lengths_trained_together():
    """One tower, a head and a margin for each length; other lengths are trained alone."""
    plus = train_layers("cifar10", "dnnh_plus", 24)
    for bits in (12, 24, 32, 48):
        files = net_spec("cifar10", "dnnh_plus", bits).files
        assert files["train_test"].name == "dnnh_plus_train_test.prototxt"
        loss = plus[f"{bits}bit_loss"]
        assert loss.batch_triplet_loss_param.margin == pytest.approx(bits / 16)
        assert list(loss.bottom) == [f"{bits}bit_codes", "labels"]
        assert list(plus[f"{bits}bit_features"].bottom) == ["pool_conv4"]
    alone = net_spec("cifar10", "dnnh_plus", 16)
    assert alone.files["train_test"].name == "dnnh_plus_16bit_train_test.prototxt"
    assert "codes" in by_name(prototxt.train_net(alone))


def build(tmp_path, spec):
    """The deploy net, for one image, as Caffe builds it."""
    net = prototxt.deploy_net(spec)
    net.layer[0].input_param.shape[0].dim[0] = 1
    prototxt.write(tmp_path / "deploy.prototxt", net)
    return caffe.Net(str(tmp_path / "deploy.prototxt"), caffe.TEST)


def test_table_1(tmp_path):
    """Every output size of the paper's table 1, for 256x256 images."""
    net = build(tmp_path, net_spec("nuswide"))
    table = [
        ("conv1", 96, 54),
        ("cccp1", 96, 54),
        ("pool1", 96, 27),
        ("conv2", 256, 27),
        ("cccp2", 256, 27),
        ("pool2", 256, 13),
        ("conv3", 384, 13),
        ("cccp3", 384, 13),
        ("pool3", 384, 6),
        ("conv4", 1024, 6),
        ("cccp4", 50 * 48, 6),
        ("features", 50 * 48, 1),
    ]
    sizes = [(name, *net.blobs[name].shape[1:]) for name, _, _ in table]
    assert sizes == [(name, channels, size, size) for name, channels, size in table]
    data = train_layers("nuswide")["triplet_images"]
    assert data.transform_param.crop_size == 224


@pytest.mark.parametrize(
    ("method", "sizes"),
    [
        ("dnnh", [("cccp2", 96, 32), ("pool1", 96, 16), ("pool2", 192, 8), ("cccp6", 600, 8)]),
        ("cnnh", [("pool1", 32, 16), ("pool2", 64, 8), ("pool3", 128, 4), ("full4", 500, 1)]),
        (
            "dnnh_lai",
            [
                ("cccp1", 96, 32),
                ("pool1", 96, 16),
                ("pool2", 256, 8),
                ("pool3", 384, 4),
                ("conv4", 1024, 4),
                ("cccp4", 600, 4),
            ],
        ),
    ],
)
def test_towers_for_32x32_images(tmp_path, method, sizes):
    net = build(tmp_path, net_spec("cifar10", method, 12))
    for name, channels, size in sizes:
        assert tuple(net.blobs[name].shape[1:]) == (channels, size, size)
    last, features = ("bits", 12) if method == "cnnh" else ("features", 600)
    assert tuple(net.blobs[last].shape[1:]) == (features, 1, 1)


def test_nets_read_the_same_materialized_triplets():
    """They are padded by one number, so nets of a data set that read them crop as much."""
    pads = {"cifar10": 4, "digits": 0, "mnist": 2, "nuswide": 0, "svhn": 4}
    assert {dataset: configs.materialized_pad(dataset) for dataset in configs.CONFIGS} == pads
    for dataset, pad in pads.items():
        for config in configs.CONFIGS[dataset].values():
            if isinstance(config.batch, net_config.Triplets):
                assert config.augmentation.pad == pad


def test_digits_are_not_mirrored_and_photographs_are():
    for dataset, mirrored in (
        ("cifar10", True),
        ("nuswide", True),
        ("svhn", False),
        ("mnist", False),
    ):
        data = train_layers(dataset)["triplet_images"]
        assert data.transform_param.mirror == mirrored


@pytest.mark.parametrize("dataset", ["cifar10", "svhn", "nuswide"])
def test_the_papers_methods_exist_for_all_its_data_sets(dataset):
    for method in ("dnnh", "dnnh_fc", "dnnh_two_towers"):
        for schedule in ("paper", "short"):
            for bits in (12, 24, 32, 48):
                assert prototxt.train_net(net_spec(dataset, method, bits, schedule)).layer


def test_samplings_differ_in_their_data_alone():
    nets = {
        sampling: prototxt.train_net(net_spec("cifar10", "dnnh_minimal", sampling=sampling))
        for sampling in specs.TRIPLET_SAMPLINGS
    }
    names = [net.name for net in nets.values()]
    assert names == [
        "cifar10_dnnh_minimal_48bit",
        "cifar10_dnnh_minimal_listed_48bit",
        "cifar10_dnnh_minimal_materialized_48bit",
    ]
    behind_data = []
    for net in nets.values():
        first = [layer.name for layer in net.layer].index("pixels")
        behind_data.append([str(layer) for layer in net.layer[first:]])
    assert behind_data[0] == behind_data[1] == behind_data[2]
    database = "data/cifar10_train_images_lmdb"
    online, listed = (nets[s].layer[0].triplet_data_param for s in ("online", "listed"))
    assert online.source == listed.source == database
    assert not online.triplet_file
    assert listed.triplet_file == f"{database}/triplets.h5"
    data_param = nets["materialized"].layer[0].data_param
    assert data_param.source == "data/cifar10_train_triplets_lmdb"


@pytest.mark.parametrize("bits", [8, 13, 64])
def test_any_length_from_8_to_64(tmp_path, bits):
    net = build(tmp_path, net_spec("digits", bits=bits))
    assert tuple(net.blobs["codes"].shape) == (1, bits)


def test_an_edited_deploy_prototxt_is_used(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "PROTOTXT", tmp_path)
    spec = net_spec("digits")
    generated = prototxt.deploy_text(spec)
    path = spec.files["deploy"]
    path.parent.mkdir()
    edited = generated.replace("pool: MAX", "pool: AVE")
    path.write_text("# edited\n" + edited)
    assert prototxt.deploy_text(spec) == edited != generated
    path.write_text(generated.replace("dim: 8", "dim: 9", 1))
    with pytest.raises(
        UserError, match=r"takes images of the shape \[\[1, 9, 8\]\], and digits has"
    ):
        prototxt.deploy_text(spec)


def test_files_that_are_no_prototxt(tmp_path):
    cases = (
        (b"layer {", "is not a prototxt file that can be read"),
        (b"layer { name: '\xff' }", "is not a prototxt file, which is text"),
        (b"layer { loss_param { " * 100_000, "is not a prototxt file that can be read"),
    )
    for content, message in cases:
        (tmp_path / "x.prototxt").write_bytes(content)
        with pytest.raises(UserError, match=f"x.prototxt {message}"):
            prototxt.read_net(tmp_path / "x.prototxt")
    for path in (tmp_path / "nowhere", "/dev/zero"):
        with pytest.raises(UserError, match=f"{path} cannot be read"):
            prototxt.read_net(path)


def test_a_wrong_field_fails_where_it_is_written():
    from dnnh.nets.towers import layer

    with pytest.raises(ValueError, match="warp"):
        layer("images", "TripletData", [], ["images"], triplet_data_param={"warp": 1})


def test_layer_field_numbers_are_far_from_upstreams():
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    ours = {f.name: f.number for f in fields if f.number >= 1000}
    assert ours == {
        "triplet_ranking_loss_param": 1000,
        "divide_and_encode_param": 1001,
        "piecewise_threshold_param": 1002,
        "triplet_data_param": 1003,
        "batch_triplet_loss_param": 1004,
        "ranking_list_loss_param": 1005,
        "slope_sigmoid_param": 1006,
        "resize_param": 1007,
    }
    assert max(f.number for f in fields if f.number < 1000) < 200


def test_renamed_fields_keep_their_numbers():
    """Nets written by earlier versions are read by number where they are binary."""
    fields = caffe_pb2.TripletDataParameter.DESCRIPTOR.fields_by_name
    numbers = {
        "source": 1,
        "batch_size": 2,
        "classes": 3,
        "images_per_class": 4,
        "triplet_file": 5,
        "pad": 6,
        "seed": 7,
        "channel_order": 8,
        "threads": 9,
        "prefetch": 10,
        "cutout": 11,
        "color_jitter": 12,
        "random_affine": 13,
        "images": 14,
        "augment_until": 15,
        "trivial_augment": 16,
    }
    assert {name: field.number for name, field in fields.items()} == numbers


def test_text_is_read_back_as_the_same_message():
    for spec in COMMITTED:
        net = prototxt.train_net(spec)
        read = text_format.Parse(prototxt.texts(spec)[spec.files["train_test"]], type(net)())
        assert read == net
