"""Which weights are taken for a net."""

import os
import pathlib

import pytest

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, configs, prototxt, runtimes, specs, weights
from dnnh.nets.specs import net_spec

SPEC = net_spec("digits", bits=12)


@pytest.fixture
def repository(home, monkeypatch):
    """An empty repository with the folders that weights lie in."""
    monkeypatch.setattr(paths, "ROOT", home)
    monkeypatch.setattr(paths, "PROTOTXT", home / "prototxt")
    (home / "snapshots").mkdir()
    (home / "models").mkdir()
    return home


def make(path, seconds=None):
    path.touch()
    if seconds is not None:
        os.utime(path, (seconds, seconds))
    return path


def paths_of(spec):
    return [each.path for each in weights.all_weights(spec)]


def test_nothing_trained_yet(repository):
    with pytest.raises(
        UserError,
        match="no trained net 'digits_dnnh_12bit'.*make_prototxt.py --dataset digits --method dnnh "
        "--bits 12' and 'caffe train -solver prototxt/generated/digits/dnnh_12bit_solver",
    ):
        weights.find_weights(SPEC)
    with pytest.raises(UserError, match="nowhere.caffemodel does not exist"):
        weights.find_weights(SPEC, repository / "nowhere.caffemodel")
    with pytest.raises(UserError, match="snapshots is not a file"):
        weights.find_weights(SPEC, repository / "snapshots")


def test_snapshots_come_before_the_released_model(repository):
    snapshots = repository / "snapshots"
    released = make(repository / "models/digits_dnnh_12bit.caffemodel.h5")
    chosen = weights.find_weights(SPEC)
    assert chosen.path == released
    assert chosen.description == "models/digits_dnnh_12bit.caffemodel.h5, the released model"
    make(snapshots / "digits_dnnh_48bit_iter_900.caffemodel")  # of another net
    assert weights.find_weights(SPEC).path == released
    old = make(snapshots / "digits_dnnh_12bit_iter_900.caffemodel", 1000)
    new = make(snapshots / "digits_dnnh_12bit_iter_30.caffemodel", 1001)
    assert weights.find_weights(SPEC).path == new  # a new training
    os.utime(old, (1001, 1001))
    assert weights.find_weights(SPEC).path == old  # the same second: the later iteration
    given = weights.find_weights(SPEC, released)
    assert (given.path, given.description) == (released, f"{released}, as given")


def test_other_trainings_of_the_net_come_last(repository):
    snapshots = repository / "snapshots"
    own = make(snapshots / "digits_dnnh_12bit_iter_900.caffemodel")
    released = make(repository / "models/digits_dnnh_12bit.caffemodel.h5")
    make(snapshots / "digits_dnnh_seed2x_12bit_iter_9.caffemodel")  # of another net
    make(snapshots / "digits_dnnh_fc_12bit_iter_9.caffemodel")
    make(snapshots / "digits_dnnh_validation_12bit_iter_9.caffemodel")
    others = [
        make(snapshots / f"digits_dnnh_{name}_12bit_iter_9.caffemodel", 2000 + i)
        for i, name in enumerate(("seed2", "70iterations", "70iterations_seed2"))
    ]
    assert paths_of(SPEC) == [own, released, *others[::-1]]
    own.unlink()
    released.unlink()
    assert weights.find_weights(SPEC).description == (
        "snapshots/digits_dnnh_70iterations_seed2_12bit_iter_9.caffemodel, the newest snapshot "
        "of another training run of this net"
    )


def test_a_released_model_of_another_schedule_says_so(repository):
    short = make(repository / "models/cifar10_dnnh_short_12bit.caffemodel.h5")
    paper, spec = net_spec(bits=12), net_spec(bits=12, schedule="short")
    assert weights.find_weights(paper).path == weights.find_weights(spec).path == short
    assert weights.find_weights(paper).description.endswith("the released model (schedule short)")
    released = make(repository / "models/cifar10_dnnh_12bit.caffemodel.h5")
    assert paths_of(paper) == [released, short]
    assert paths_of(spec) == [short, released]
    with pytest.raises(UserError, match="no trained net 'cifar10_dnnh_validation_12bit'"):
        weights.find_weights(net_spec(bits=12, split="validation"))


def test_lengths_trained_together_have_their_weights_in_one_file(repository):
    together = make(repository / "snapshots/cifar10_dnnh_plus_iter_5.caffemodel")
    for bits in (12, 48):
        assert weights.find_weights(net_spec("cifar10", "dnnh_plus", bits)).path == together
    with pytest.raises(UserError, match="no trained net 'cifar10_dnnh_plus_16bit'"):
        weights.find_weights(net_spec("cifar10", "dnnh_plus", 16))


def test_the_schedule_is_in_the_name():
    config = configs.net_config("cifar10", "dnnh")

    def schedule(name):
        run = weights.run_in_name(name, "cifar10", config, "dnnh")
        return run and run.schedule

    assert schedule("cifar10_dnnh_48bit.caffemodel.h5") == "paper"
    assert schedule("cifar10_dnnh_short_12bit.caffemodel.h5") == "short"
    assert schedule("cifar10_dnnh_48bit_averaged.caffemodel") == "paper"
    assert schedule("cifar10_dnnh_seed3_48bit_iter_70000.caffemodel") == "paper"
    assert schedule("cifar10_dnnh_200iterations_listed_validation_48bit_iter_9.caffemodel") == "200"
    for other in ("cifar10_dnnh_fc_48bit.caffemodel", "mine.caffemodel", "cifar10_dnnh.txt", ""):
        assert schedule(other) is None


@pytest.mark.parametrize("split", specs.SPLITS)
@pytest.mark.parametrize(
    "method, schedule, sampling, seed",
    [
        ("dnnh", "paper", "online", 1),
        ("dnnh", "short", "online", 3),
        ("dnnh", str(specs.MAX_ITERATIONS), "online", 20),
        ("dnnh_minimal", "paper", "listed", 20),
        ("dnnh_minimal", "paper", "materialized", 1),
    ],
)
def test_the_training_run_is_in_the_name(split, method, schedule, sampling, seed):
    spec = net_spec("cifar10", method, 24, schedule, split, sampling, seed)
    for end, iteration in (("_iter_7", 7), ("_averaged", None), ("", None)):
        path = pathlib.Path(f"{spec.training_name}{end}.caffemodel")
        expected = weights.TrainingRun(schedule, sampling, split, seed, 24, iteration)
        assert weights.run_of(spec, path) == expected
    if split == "validation":
        with pytest.raises(UserError, match="trained with --split validation, by its name"):
            weights.check_split(net_spec("cifar10", method, 24), path)
    weights.check_split(spec, path)
    weights.check_split(spec, pathlib.Path("mine.caffemodel"))
    command = weights.make_command(spec)
    assert ("--train-seed 20" in command) == (seed == 20)
    assert (f"--sampling {sampling}" in command) == (sampling != "online")


def test_the_schedule_goes_with_the_weights(repository):
    spec = net_spec("digits", bits=12)
    model = repository / "digits_dnnh_300iterations_12bit_iter_300.caffemodel"
    caffe_encoder.build(prototxt.deploy_net(spec)).save(str(model))
    found = weights.find_weights(spec, model)
    assert found.net(spec).schedule == "300"
    assert runtimes.by_caffe(spec, found, "query").info.schedule == "300"
    renamed = model.rename(repository / "mine.caffemodel")
    assert weights.find_weights(spec, renamed).net(spec) == spec
    # No schedule of this method: it decays in steps of its own.
    config = configs.net_config("digits", "dnnh_minimal")
    name = "digits_dnnh_minimal_300iterations_12bit.caffemodel"
    assert weights.run_in_name(name, "digits", config, "dnnh_minimal") is None
