"""Specs of nets: names, files, and requests that are refused."""

import pytest

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import specs
from dnnh.nets.specs import net_spec


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "cifar10_dnnh_48bit"),
        ({"schedule": "paper"}, "cifar10_dnnh_48bit"),
        ({"schedule": "short", "bits": 12}, "cifar10_dnnh_short_12bit"),
        ({"schedule": "0500"}, "cifar10_dnnh_500iterations_48bit"),
        ({"method": "dnnh_plus", "schedule": "12000"}, "cifar10_dnnh_plus_48bit"),
        (
            {"schedule": "short", "split": "validation", "train_seed": 3},
            "cifar10_dnnh_short_validation_seed3_48bit",
        ),
        (
            {"method": "dnnh_minimal", "sampling": "listed"},
            "cifar10_dnnh_minimal_listed_48bit",
        ),
        ({"dataset": "digits", "bits": 8}, "digits_dnnh_8bit"),
    ],
)
def test_names(options, name):
    assert net_spec(**options).name == name


def test_the_default_nets_files_have_fixed_names():
    """`caffe train -solver prototxt/cifar10_solver.prototxt` works as written."""
    names = {
        kind: path.relative_to(paths.ROOT).as_posix() for kind, path in net_spec().files.items()
    }
    assert names == {
        "train_test": "prototxt/cifar10_train_test.prototxt",
        "solver": "prototxt/cifar10_solver.prototxt",
        "deploy": "prototxt/cifar10_deploy.prototxt",
    }


def test_files_lie_in_a_folder_for_each_data_set():
    def relative(spec, kind):
        return spec.files[kind].relative_to(paths.PROTOTXT).as_posix()

    fc = net_spec("cifar10", "dnnh_fc", schedule="short")
    assert relative(fc, "solver") == "cifar10/dnnh_fc_short_48bit_solver.prototxt"
    two = net_spec("svhn", "dnnh_two_towers", 12)
    deploy = "generated/svhn/dnnh_two_towers_12bit_query_deploy.prototxt"
    assert relative(two, "query_deploy") == deploy
    # Other seeds encode with the same deploy net, other schedules with theirs.
    other = net_spec(bits=12, schedule="2000", train_seed=4)
    assert relative(other, "deploy") == (
        "generated/cifar10/dnnh_2000iterations_12bit_deploy.prototxt"
    )
    assert relative(other, "solver").startswith("generated/cifar10/dnnh_2000iterations_seed4")


def test_lengths_trained_together_share_a_training():
    names = {net_spec("cifar10", "dnnh_plus", bits).training_name for bits in (12, 24, 32, 48)}
    assert names == {"cifar10_dnnh_plus"}
    assert net_spec("cifar10", "dnnh_plus", 16).training_name == "cifar10_dnnh_plus_16bit"


def test_databases():
    path = specs.image_database_path
    assert path("cifar10", "train") == "data/cifar10_train_images_lmdb"
    materialized = path("cifar10", "train", "materialized")
    assert materialized == "data/cifar10_train_triplets_lmdb"
    assert path("cifar10", "train", target_bits=12) == "data/cifar10_train_12bit_codes_lmdb"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 7}, "7 bits: codes have 8 to 64"),
        ({"bits": 65}, "65 bits"),
        ({"dataset": "mars"}, "unknown data set 'mars'; known ones: cifar10, "),
        ({"method": "x"}, "'cifar10' has no net of the method 'x'; its methods: cnnh, "),
        ({"train_seed": -1}, "training seed -1: seeds are 0 to"),
        ({"train_seed": 2**31}, "seed 2147483648"),
        ({"schedule": "-1"}, "-1 iterations: 1 to 10,000,000"),
        ({"schedule": "0"}, "0 iterations"),
        ({"schedule": "9" * 5000}, "^999999999999 iterations: 1 to 10,000,000"),
        ({"schedule": "long"}, "unknown schedule 'long' of dnnh: give 'paper', 'short' or"),
        ({"schedule": "short", "method": "dnnh_plus"}, "unknown schedule 'short' of dnnh_plus"),
        (
            {"method": "dnnh_minimal", "schedule": "100"},
            "learning rate of dnnh_minimal decays in steps of its own",
        ),
        (
            {"method": "dnnh_plus", "sampling": "materialized"},
            "'dnnh_plus' of cifar10 forms its triplets of",
        ),
        ({"sampling": "listed"}, "'dnnh' of cifar10 forms its triplets of"),
        ({"sampling": "x"}, "unknown triplet sampling 'x'; known ones: online, "),
        ({"split": "x"}, "unknown split 'x'; known ones: test, validation"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(UserError, match=message):
        net_spec(**options)
