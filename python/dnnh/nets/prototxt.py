"""Nets and solvers as Caffe's messages, and as prototxt files.

A net is a tower (images to 50 q features), the divide-and-encode module (features to q values
in [0, 1]) and, in training, the triplet ranking loss. The three images of a triplet are joined
on the batch axis, pass through one tower, and their codes are sliced apart behind it. What
departs from that (a fully connected layer, two towers, several lengths on one, triplets formed
by the loss) does so because a configuration says so (dnnh.nets.configs).

Source: Lai, Pan, Liu, Yan, CVPR 2015 (here "the paper").
"""

import pathlib

from dnnh import atomic_files, files, paths
from dnnh.errors import UserError
from dnnh.nets import code_layers, data_layers, loss_layers, net_config, pycaffe
from dnnh.nets.specs import NetSpec
from dnnh.nets.towers import Message, layer
from dnnh.nets.weights import make_command

_EDIT_THOSE = "Written by tools/make_prototxt.py from python/dnnh/nets/: edit that."


def train_net(spec: NetSpec) -> Message:
    """The NetParameter that `caffe train` trains."""
    config, is_validation = spec.config, spec.split == "validation"
    layers = data_layers.data_layers(
        spec, "TRAIN", "validation_train" if is_validation else "train"
    )
    if spec.has_held_out_loss:
        layers += data_layers.data_layers(spec, "TEST", "validation_test")
    if spec.sampling == "materialized":
        layers += data_layers.join_materialized(config.input.channels)
    layers += code_layers.pixels(config.input)
    if len(config.towers) > 1:
        layers.append(code_layers.pixels_of_towers(spec))
    for tower in config.towers:
        layers += code_layers.tower_and_codes(spec, tower, spec.lengths)
    layers += loss_layers.losses(spec)
    for tower in config.towers:
        layers += [loss_layers.monitor(tower + head) for head in spec.lengths]
    return pycaffe.messages().NetParameter(name=spec.training_name, layer=layers)


def deploy_net(spec: NetSpec, tower: str = "") -> Message:
    """The NetParameter that encodes images: ``images`` to its one output, the codes.

    ``tower`` is one of ``spec.config.towers``: a net with two has two deploy nets (section 4.4).

    Raises
    ------
    UserError
        If it is not.
    """
    return _deploy(spec, tower, {spec.head_prefix: spec.bits})


def joint_deploy_net(spec: NetSpec, tower: str = "") -> Message:
    """As :func:`deploy_net`, but the codes are those of all lengths that were trained together, side
    by side in the order of ``spec.lengths``."""
    net = _deploy(spec, tower, spec.lengths)
    codes = [f"{tower}{head}codes" for head in spec.lengths]
    net.layer.append(layer("joint_codes", "Concat", codes, ["joint_codes"]))
    return net


def _deploy(spec: NetSpec, tower: str, lengths: dict[str, int]) -> Message:
    spec = spec.for_encoding
    _check_tower(spec, tower)
    images = spec.config.input
    shape = {"dim": [100, images.channels, images.size, images.size]}
    layers = [
        layer("images", "Input", [], ["images"], input_param={"shape": [shape]}),
        *code_layers.pixels(images, f"{tower}pixels"),
        *code_layers.tower_and_codes(spec, tower, lengths),
    ]
    return pycaffe.messages().NetParameter(name=spec.name, layer=layers)


def statistics_net(spec: NetSpec) -> Message:
    """The NetParameter that encodes images with all towers and lengths of a training run, and
    whose batch normalization uses each batch's own statistics, and adds them up in its blobs."""
    images = spec.config.input
    shape = {"dim": [1, images.channels, images.size, images.size]}
    layers = [layer("images", "Input", [], ["images"], input_param={"shape": [shape]})]
    for tower in spec.config.towers:
        layers += [
            *code_layers.pixels(images, f"{tower}pixels"),
            *code_layers.tower_and_codes(spec, tower, spec.lengths),
        ]
    for of_tower in layers:
        if of_tower.type == "BatchNorm":
            of_tower.batch_norm_param.use_global_stats = False
            of_tower.batch_norm_param.moving_average_fraction = 1
    return pycaffe.messages().NetParameter(name=spec.training_name, layer=layers)


def solver(spec: NetSpec) -> Message:
    """The SolverParameter that trains the net."""
    config = spec.schedule_config.solver
    message = pycaffe.messages().SolverParameter(
        net=_relative(spec.files["train_test"]),
        momentum=net_config.MOMENTUM,
        weight_decay=net_config.WEIGHT_DECAY,
        base_lr=config.base_lr,
        lr_policy=config.lr_policy,
        power=config.power,
        gamma=config.gamma,
        stepvalue=config.stepvalue,
        max_iter=config.max_iter,
        display=config.display,
        average_loss=20,  # the logged loss is the mean of so many iterations; one is noise
        snapshot=config.snapshot,
        snapshot_prefix=spec.snapshot_prefix,
        random_seed=spec.train_seed,
    )
    if spec.has_held_out_loss:
        # 50 batches of held-out images at a time.
        message.test_iter.append(50)
        message.test_interval = 500
    return message


def _check_tower(spec: NetSpec, tower: str) -> None:
    towers = spec.config.towers
    if tower not in towers:
        raise UserError(
            f"the sub-networks of '{spec.name}' are "
            + " and ".join(f"'{name}'" for name in towers)
            + f", not '{tower}'; each encodes with a deploy net of its own"
        )


def texts(spec: NetSpec) -> dict[pathlib.Path, str]:
    """The prototxt files of a net: their text by path."""
    texts = {
        spec.files["train_test"]: _train_comment(spec) + as_text(train_net(spec)),
        spec.files["solver"]: _solver_comment(spec) + as_text(solver(spec)),
    }
    for tower in spec.config.towers:
        path = spec.files[f"{tower}deploy"]
        texts[path] = _deploy_comment(spec.for_encoding, tower) + as_text(deploy_net(spec, tower))
    return texts


def deploy_text(spec: NetSpec, tower: str = "") -> str:
    """The deploy prototxt on disk, which a user may have edited; as generated if there is none.

    Raises
    ------
    UserError
        If the net has no such sub-network, or the prototxt takes images of another size.
    """
    _check_tower(spec, tower)
    path = spec.files[f"{tower}deploy"]
    if not path.is_file():
        return as_text(deploy_net(spec, tower))
    net, wanted = read_net(path), spec.config.input
    size = [wanted.channels, wanted.size, wanted.size]
    for image_input in (each for each in net.layer if each.type == "Input"):
        dims = [list(shape.dim)[1:] for shape in image_input.input_param.shape]
        if dims != [size]:
            raise UserError(
                f"{path} takes images of the shape {dims}, and {spec.dataset} has {size} (channels, "
                f"height, width); write it again with '{make_command(spec)}'"
            )
    return as_text(net)


def read_net(path: pathlib.Path) -> Message:
    """The NetParameter of a prototxt file."""
    return _parse(path, pycaffe.messages().NetParameter())


def read_solver(path: pathlib.Path) -> Message:
    """The SolverParameter of a prototxt file."""
    return _parse(path, pycaffe.messages().SolverParameter())


def write(path: pathlib.Path, message: Message) -> None:
    """Write a message as a prototxt file."""
    atomic_files.write_text(path, as_text(message))


def _parse(path: pathlib.Path, message: Message) -> Message:
    from google.protobuf import text_format

    try:
        return text_format.Parse(files.read_regular_file(path).decode(), message)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a prototxt file, which is text ({error})") from error
    except (text_format.ParseError, RecursionError) as error:
        raise UserError(f"{path} is not a prototxt file that can be read ({error})") from error


def as_text(message: Message) -> str:
    """A message as prototxt."""
    from google.protobuf import text_format

    return text_format.MessageToString(message)


def _relative(path: pathlib.Path) -> str:
    return path.relative_to(paths.ROOT).as_posix()


def _comment(*lines: str) -> str:
    return "".join(f"# {line}\n" for line in lines) + "\n"


def _train_comment(spec: NetSpec) -> str:
    lengths = ", ".join(map(str, spec.lengths.values()))
    size = spec.config.input.size
    lines = [
        f"{spec.training_name}: codes of {lengths} bits from {size}x{size} images.",
        _EDIT_THOSE,
        f"A batch has {spec.config.batch}.",
    ]
    if spec.split == "test":
        lines += [
            "There is no TEST phase: all training images are trained on, and no query may be",
            "looked at. The net of the validation split has one, on held-out training images.",
        ]
    return _comment(*lines)


def _deploy_comment(spec: NetSpec, tower: str) -> str:
    images = spec.config.input
    order = ", RGB" if images.channels == 3 else ""
    return _comment(
        f"{spec.name}: encodes {images.size}x{images.size} images, bytes 0..255{order}.",
        f"Bit i of an image is 1 where `{tower}{spec.head_prefix}codes` i is above 0.5.",
        "Tools encode with this file as it is here, but for evaluate.py --all-lengths.",
        "tools/make_prototxt.py writes it anew.",
    )


def _solver_comment(spec: NetSpec) -> str:
    return _comment(
        f"Trains {spec.training_name}: caffe train -solver {_relative(spec.files['solver'])}",
        _EDIT_THOSE,
        "Momentum and weight decay are the paper's (section 4.1); the rest is ours.",
        "Without solver_mode Caffe runs on the CPU; -gpu 0 takes the GPU.",
    )
