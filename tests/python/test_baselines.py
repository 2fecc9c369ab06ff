"""Methods that hash vectors, on data where the answer is known."""

import numpy as np
import pytest

from dnnh import metrics, ranking
from dnnh.baselines import METHODS, itq
from dnnh.baselines.base import one_hot, similarity
from dnnh.errors import UserError

RNG = np.random.default_rng(0)
CLASSES = 5
CENTRES = 4 * RNG.standard_normal((CLASSES, 64))
LABELS = np.arange(1500) % CLASSES
CLUSTERS = CENTRES[LABELS] + RNG.standard_normal((1500, 64))
SUPERVISED = [name for name, method in METHODS.items() if method.supervised]


def mean_average_precision(method, x, labels, train):
    codes = method.encode(x)
    return metrics.evaluate(codes[train:], codes[:train], labels[train:], labels[:train],
                            method.bits)["map"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bits", [8, 24])
def test_separate_clusters(name, bits):
    method = METHODS[name](bits).fit(CLUSTERS[:1200], LABELS[:1200])
    least = {"lsh": 0.6, "sh": 0.5, "itq": 0.9}.get(name, 0.99)
    assert mean_average_precision(method, CLUSTERS, LABELS, 1200) > least
    again = METHODS[name](bits).fit(CLUSTERS[:1200], LABELS[:1200])
    assert np.array_equal(method.encode(CLUSTERS), again.encode(CLUSTERS))


@pytest.mark.parametrize("name", SUPERVISED)
def test_labels_that_variance_does_not_show(name):
    """The classes differ in the smallest of the directions."""
    x = RNG.standard_normal((1500, 40)) * np.linspace(10, 1, 40)
    x[:, -3:] += 4 * np.eye(3)[LABELS % 3]
    method = METHODS[name](8).fit(x[:1200], LABELS[:1200] % 3)
    assert mean_average_precision(method, x, LABELS % 3, 1200) > 0.8
    blind = METHODS["itq"](8).fit(x[:1200])
    assert mean_average_precision(blind, x, LABELS % 3, 1200) < 0.45


def test_lsh_collides_by_the_angle():
    method = METHODS["lsh"](4000)
    x = RNG.standard_normal((5000, 8))
    method.fit(x - x.mean(axis=0))
    for angle in (0.2, 1.0, 2.5):
        pair = np.array([[1, 0], [np.cos(angle), np.sin(angle)]]) @ np.eye(8)[:2]
        one, other = ranking.unpack(method.encode(pair), 4000)
        assert np.mean(one != other) == pytest.approx(angle / np.pi, abs=0.03)


def test_itq_turns_and_its_loss_never_rises():
    projected = RNG.standard_normal((500, 12)) * np.linspace(3, 1, 12)
    losses = []
    rotation = itq.rotate(projected, np.random.default_rng(1), losses)
    assert np.allclose(rotation.T @ rotation, np.eye(12))
    assert len(losses) == 50 and losses[-1] < 0.98 * losses[0]
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()


def test_itq_cca_has_more_bits_than_directions():
    method = METHODS["itqcca"](24).fit(CLUSTERS, LABELS)
    assert np.linalg.matrix_rank(method.projection) == CLASSES - 1
    assert len(np.unique(method.encode(CENTRES), axis=0)) == CLASSES


def test_sh_takes_the_smoothest_functions():
    box = RNG.uniform(size=(20_000, 3)) * [8, 4, 1]
    method = METHODS["sh"](4).fit(box)
    # Half waves over the longest side: 1/8, 2/8, 3/8, and 1/4 over the second.
    assert sorted(method.frequencies / np.pi * 8) == pytest.approx([1, 2, 2, 3], rel=0.01)
    middle = box.mean(axis=0)
    bit = list(np.round(method.frequencies / np.pi * 8)).index(1)
    axis = np.abs(method.directions[:, method.axes[bit]]).argmax()
    assert axis == 0
    left, right = (method.project([middle + step * np.eye(3)[0]])[0, bit]
                   for step in (-3, 3))
    assert left * right < 0 and abs(left) == pytest.approx(np.cos(np.pi / 8), abs=0.02)


def test_ksh_comes_closer_with_each_bit():
    method = METHODS["ksh"](16).fit(CLUSTERS, LABELS)
    assert (np.diff(method.objectives) < 0).all()
    signs = np.where(method.project(CLUSTERS) > 0, 1, -1)
    left = 16 * similarity(LABELS) - signs @ signs.T
    assert method.objectives[-1] == pytest.approx(np.mean(left**2), rel=1e-3)


def test_sdh_never_goes_back():
    noisy = LABELS.copy()
    noisy[::7] = RNG.integers(CLASSES, size=len(noisy[::7]))
    method = METHODS["sdh"](12).fit(CLUSTERS, noisy)
    steps = np.diff(method.objectives)
    assert (steps <= 1e-9 * method.objectives[0]).all() and steps.min() < 0


def test_labels_of_both_forms():
    assert np.array_equal(one_hot(np.array([3, 1, 3])), [[0, 1], [1, 0], [0, 1]])
    multi = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]], np.uint8)
    assert np.array_equal(similarity(multi), [[1, -1, 1], [-1, 1, -1], [1, -1, 1]])
    hot = np.eye(CLASSES, dtype=np.uint8)[LABELS]
    for name in SUPERVISED:
        one, other = (METHODS[name](8).fit(CLUSTERS, labels).encode(CLUSTERS)
                      for labels in (LABELS, hot))
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_one_sentence(name):
    method = METHODS[name]
    with pytest.raises(UserError, match=f"{method.name}: 8 samples cannot teach 8 bits"):
        method(8).fit(CLUSTERS[:8], LABELS[:8])
    with pytest.raises(UserError, match="all 1500 samples are the same"):
        method(8).fit(np.ones((1500, 64)), LABELS)
    with pytest.raises(UserError, match="no numbers"):
        method(8).fit(np.where(CLUSTERS > 12, np.nan, CLUSTERS), LABELS)
    with pytest.raises(UserError, match=r"features of shape \(1500,\)"):
        method(8).fit(CLUSTERS[:, 0], LABELS)
    with pytest.raises(UserError, match="0 bits"):
        method(0)
    with pytest.raises(UserError, match="learnt from 64 features; these are 63"):
        method(8).fit(CLUSTERS, LABELS).encode(CLUSTERS[:, 1:])
    if method.supervised:
        with pytest.raises(UserError, match="it needs labels"):
            method(8).fit(CLUSTERS)
        with pytest.raises(UserError, match="9 labels for 1500 samples"):
            method(8).fit(CLUSTERS, LABELS[:9])


@pytest.mark.parametrize("name, x, message", [
    ("itq", CLUSTERS[:, :5], "8 principal directions are asked of 5 features"),
    ("ksh", CLUSTERS[:200], "300 anchors are to be drawn from 200 samples"),
    ("itqcca", CLUSTERS, "all samples have the same labels")])
def test_what_a_method_cannot_do(name, x, message):
    with pytest.raises(UserError, match=message):
        METHODS[name](8).fit(x, np.zeros(len(x), int))
