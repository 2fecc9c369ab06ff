"""CNNH's first stage: codes from labels."""

import numpy as np
import pytest

from dnnh.baselines import cnnh
from dnnh.errors import UserError


def distances(codes):
    return (codes[:, np.newaxis] != codes).sum(axis=2)


@pytest.mark.parametrize("bits", [8, 24])
def test_a_class_has_a_code_of_its_own(bits):
    labels = np.arange(300) % 10
    codes = cnnh.approximate_codes(labels, bits)
    assert codes.shape == (300, bits) and set(np.unique(codes)) == {0, 1}
    similar = labels[:, np.newaxis] == labels
    assert distances(codes)[similar].max() == 0
    # Ten codes cannot be farther apart than 5/9 of their bits on the average
    # (Plotkin), and least squares keeps all of them nearly as far.
    apart = distances(codes)[~similar]
    assert apart.mean() > 0.53 * bits and apart.min() >= 0.4 * bits - 1
    assert np.array_equal(codes, cnnh.approximate_codes(labels, bits))
    assert not np.array_equal(codes, cnnh.approximate_codes(labels, bits, seed=1))


def test_two_classes_are_complements():
    labels = np.arange(40) % 2
    codes = cnnh.approximate_codes(labels, 12)
    assert distances(codes)[0, 1] == 12


def test_the_objective_falls():
    objectives = []
    cnnh.approximate_codes(np.arange(200) % 10, 16, objectives=objectives)
    assert len(objectives) == 1 + cnnh.SWEEPS
    # Random values of H leave nearly all of S; ten classes at 16 bits can have 29 %
    # of it (simplex: 9 inner products of -1/9 for each 1).
    assert objectives[0] > 0.95 and objectives[-1] < 0.76
    assert np.all(np.diff(objectives) < 1e-6)


def test_every_step_is_newtons():
    """Against the objective, computed in full, around each value that was moved."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200)
    # Small similarities, for steps that do not all end at 1 or -1.
    s = np.where(labels[:, np.newaxis] == labels, np.float32(0.1), np.float32(-0.1))
    np.fill_diagonal(s, 1)
    h = rng.uniform(-0.5, 0.5, (200, 5))
    inside = 0

    def full(h):
        return np.sum((5 * s - h @ h.T) ** 2)

    for i in range(0, 200, 10):

        def at(x, i=i):
            changed = h.copy()
            changed[i, 2] = x
            return full(changed)

        x, d = h[i, 2], 1e-3
        slope = (at(x + d) - at(x - d)) / (2 * d)
        curvature = (at(x + d) - 2 * at(x) + at(x - d)) / d**2
        assert curvature != pytest.approx(0, abs=1)
        wanted = np.clip(x - slope / curvature, -1, 1) if curvature > 0 else x
        cnnh._improve(h, 2, s, [i])
        assert h[i, 2] == pytest.approx(wanted, abs=1e-4)
        inside += abs(wanted) < 1 and wanted != x
    assert inside > 10


def test_several_labels():
    labels = np.zeros((90, 3), np.uint8)
    labels[np.arange(90), np.arange(90) % 3] = 1
    labels[0] = [1, 1, 0]
    codes = cnnh.approximate_codes(labels, 16)
    assert len(np.unique(codes[1:], axis=0)) == 3
    # Similar to two classes, it has no business with the third.
    gap = distances(codes)[0]
    assert max(gap[3], gap[1]) <= gap[2]


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.arange(10), "of 10 training images no two share a label"),
        (np.zeros(10, int), "of 10 training images any two share a label"),
    ],
)
def test_labels_that_teach_nothing(labels, message):
    with pytest.raises(UserError, match=message):
        cnnh.approximate_codes(labels, 8)
