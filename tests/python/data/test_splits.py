"""Splits: the protocol's sizes, no query among the training images, one seed."""

import dataclasses

import h5py
import numpy as np
import pytest

from dnnh import paths
from dnnh.data import cifar10, datasets, splits
from dnnh.errors import UserError


def make(per_class=700, train=0, source="made up"):
    labels = np.tile(np.arange(10), per_class)
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    return datasets.Dataset("cifar10", images, labels, cifar10.CLASSES, source, train)


def per_class(dataset, indices):
    return np.bincount(dataset.labels[indices], minlength=10).tolist()


def test_paper_protocol():
    dataset = make()
    split = splits.make_split(dataset, "paper", seed=0)
    assert per_class(dataset, split.queries) == [100] * 10
    assert per_class(dataset, split.training) == [500] * 10
    assert len(split.database) == 7000 - 1000
    assert not np.intersect1d(split.queries, split.database).size
    assert not np.intersect1d(split.queries, split.training).size
    assert np.isin(split.training, split.database).all()


def test_other_queries():
    dataset = make()
    split = splits.make_split(dataset, "paper", seed=0)
    untrained = np.setdiff1d(split.database, split.training)
    for pool in (untrained, split.training):
        drawn, others = splits.other_queries(dataset, pool, split)
        assert per_class(dataset, drawn) == [100] * 10
        assert np.isin(drawn, pool).all() and np.all(np.diff(drawn) > 0)
        assert np.array_equal(np.union1d(drawn, others), split.database)
        assert len(others) == 6000 - 1000
        assert np.array_equal(drawn, splits.other_queries(dataset, pool, split)[0])
    with pytest.raises(
        UserError, match=r"cifar10 has \d\d images of a class to draw from, not 100"
    ):
        splits.other_queries(dataset, untrained[::2], split)


def test_other_queries_of_several_labels():
    dataset = of_labels((40, ("animal", "pet")), (40, ("vehicle", "ship")))
    split = splits.make_split(dataset, "paper", seed=0)
    drawn, others = splits.other_queries(dataset, split.training, split)
    assert len(drawn) == len(split.queries) == 8 and np.isin(drawn, split.training).all()
    assert not np.intersect1d(drawn, others).size


def of_labels(*groups):
    """A user's data set; each group is a number of images and their labels."""
    classes = tuple(sorted({label for _, labels in groups for label in labels}))
    rows = [[name in labels for name in classes] for count, labels in groups for _ in range(count)]
    images = np.zeros((len(rows), 1, 1, 3), np.uint8)
    return datasets.Dataset("pets", images, np.array(rows, np.uint8), classes, "made up", 0)


def test_labels_that_occur_together_share_images():
    """Each pet is an animal: the images drawn for one are those of the other."""
    dataset = of_labels((40, ("animal", "pet")), (40, ("vehicle", "ship")))
    split = splits.make_split(dataset, "paper", seed=0)
    for indices, count in ((split.queries, 4), (split.training, 20)):
        assert len(indices) == 2 * count
        assert dataset.labels[indices].sum(axis=0).tolist() == [count] * 4
    assert not np.intersect1d(split.queries, split.training).size


def test_images_of_several_labels_are_drawn_for_one_where_there_are_enough():
    dataset = of_labels((20, ("cat", "pet")), (60, ("pet",)), (20, ("ship",)))
    split = splits.make_split(dataset, "paper", seed=0)
    assert len(split.queries) == 3 * 2 and len(split.training) == 3 * 10
    # Of 40 pets 24 are drawn for cats and dogs; the other 16 are enough for pets themselves.
    dataset = of_labels((20, ("cat", "pet")), (20, ("dog", "pet")), (30, ("ship",)))
    split = splits.make_split(dataset, "paper", seed=0)
    assert len(split.queries) == 4 * 2 and len(split.training) == 4 * 10


def test_54k_leaves_the_training_images_out_of_the_database():
    paper = splits.make_split(make(), "paper", seed=0)
    split = splits.make_split(make(), "54k", seed=0)
    assert (split.queries == paper.queries).all()
    assert (split.training == paper.training).all()
    assert len(split.database) == 7000 - 1000 - 5000
    assert not np.intersect1d(split.training, split.database).size


def test_50k_takes_the_official_parts():
    split = splits.make_split(make(train=6000), "50k", seed=0)
    assert (split.queries == np.arange(6000, 7000)).all()
    assert (split.database == np.arange(6000)).all()
    with pytest.raises(UserError, match="no official training set"):
        splits.make_split(make(), "50k", seed=0)


def test_validation_is_a_fifth_of_the_training_images():
    dataset = make()
    split = splits.make_split(dataset, "paper", seed=0)
    assert per_class(dataset, split.validation_queries) == [100] * 10
    assert per_class(dataset, split.validation_training) == [400] * 10
    assert (np.union1d(split.validation_queries, split.validation_training) == split.training).all()


def test_the_seed_decides():
    first, again, other = (splits.make_split(make(), "paper", s) for s in (0, 0, 1))
    for name in splits.ARRAYS:
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.queries != other.queries).any()


def test_a_saved_split_is_used_again(home):
    first = splits.load_split(make(), "paper", 0)
    path = paths.DATA / "splits/cifar10_paper_seed0.h5"
    written = path.stat().st_mtime_ns
    again = splits.load_split(make(), "paper", 0)
    assert path.stat().st_mtime_ns == written
    for name in splits.ARRAYS:
        assert (getattr(first, name) == getattr(again, name)).all()


def test_a_split_of_other_data_is_refused(home):
    splits.load_split(make(), "paper", 0)
    with pytest.raises(UserError, match="drawn from other data.*delete it"):
        splits.load_split(make(source="another copy"), "paper", 0)
    relabelled = dataclasses.replace(make(), labels=make().labels[::-1].copy())
    with pytest.raises(UserError, match="drawn from other data"):
        splits.load_split(relabelled, "paper", 0)


def test_a_broken_split_file_is_refused(home):
    splits.load_split(make(), "paper", 0)
    (paths.DATA / "splits/cifar10_paper_seed0.h5").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a split file"):
        splits.load_split(make(), "paper", 0)


@pytest.mark.parametrize(
    "name, other",
    [
        ("training", "queries"),
        ("database", "queries"),
        ("validation_training", "validation_queries"),
        ("validation_training", "queries"),
        ("validation_queries", "queries"),
    ],
)
def test_a_split_file_with_images_in_two_parts_is_refused(home, name, other):
    split = splits.load_split(make(), "paper", 0)
    with h5py.File(paths.DATA / "splits/cifar10_paper_seed0.h5", "a") as file:
        del file[name]
        file[name] = getattr(split, other)
    with pytest.raises(UserError, match="have images in common"):
        splits.load_split(make(), "paper", 0)


def test_bad_requests():
    with pytest.raises(UserError, match="unknown protocol 'mine'; known ones: paper"):
        splits.make_split(make(), "mine")
    with pytest.raises(
        UserError, match="class 'airplane'.* has 599 images to draw from; 100 queries"
    ):
        splits.make_split(make(per_class=599))
