"""Shallow hashing methods, on data where the answer is known."""

import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.baselines import METHODS, bdnn, bre, itq, ksh, mlh
from dnnh.baselines.base import (
    Similarities,
    improve_signs,
    one_hot,
    principal_directions,
    signs,
    unit,
)
from dnnh.errors import UserError
from dnnh.evaluation import metrics

RNG = np.random.default_rng(0)
CLASSES = 5
CENTRES = 4 * RNG.standard_normal((CLASSES, 64))
LABELS = np.arange(1500) % CLASSES
CLUSTERS = CENTRES[LABELS] + RNG.standard_normal((1500, 64))
SUPERVISED = [name for name, method in METHODS.items() if method.supervised]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Less work than the real thing; enough for what is asked here."""
    monkeypatch.setattr(bre, "POINTS", 200)
    monkeypatch.setattr(bre, "SWEEPS", 2)
    monkeypatch.setattr(mlh, "STEPS", 1500)
    monkeypatch.setattr(mlh, "TRIAL", 200)
    monkeypatch.setattr(bdnn, "STEPS", 100)
    monkeypatch.setattr(bdnn, "ROUNDS", 4)


def mean_average_precision(method, x, labels, train):
    codes = method.encode(x)
    return metrics.evaluate(
        codes[train:], codes[:train], labels[train:], labels[:train], method.bits
    ).map


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bits", [8, 24])
def test_separate_clusters(name, bits):
    method = METHODS[name](bits).fit(CLUSTERS[:1200], LABELS[:1200])
    least = {"lsh": 0.6, "sh": 0.5, "itq": 0.9, "uh_bdnn": 0.9}.get(name, 0.95)
    assert mean_average_precision(method, CLUSTERS, LABELS, 1200) > least
    again = METHODS[name](bits).fit(CLUSTERS[:1200], LABELS[:1200])
    assert np.array_equal(method.encode(CLUSTERS), again.encode(CLUSTERS))


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].learned])
def test_a_fitted_method_can_be_kept(name):
    method = METHODS[name](12).fit(CLUSTERS[:1200], LABELS[:1200])
    kept = METHODS[name].restored(12, method.parameters())
    assert np.array_equal(kept.project(CLUSTERS), method.project(CLUSTERS))
    with pytest.raises(UserError, match=f"of {name} "):
        METHODS[name].restored(13, method.parameters())


@pytest.mark.parametrize("name", SUPERVISED)
def test_labels_that_variance_does_not_show(name):
    """The classes differ in the smallest of the directions."""
    x = RNG.standard_normal((1500, 40)) * np.linspace(10, 1, 40)
    # Neither hyperplanes made of a few samples nor a short descent find a direction as
    # small as the others do.
    apart, least = (12, 0.55) if name in ("bre", "mlh") else (4, 0.8)
    x[:, -3:] += apart * np.eye(3)[LABELS % 3]
    method = METHODS[name](8).fit(x[:1200], LABELS[:1200] % 3)
    assert mean_average_precision(method, x, LABELS % 3, 1200) > least
    blind = METHODS["lsh"](8).fit(x[:1200])
    assert mean_average_precision(blind, x, LABELS % 3, 1200) < 0.45


@pytest.mark.parametrize("name", METHODS)
def test_features_far_from_zero(name):
    """All positive, some much larger than others: bits must not be one value for all."""
    x = np.abs(CLUSTERS) * np.linspace(0.02, 1, 64) + 3
    method = METHODS[name](16).fit(x[:1200], LABELS[:1200])
    bits = packed_codes.unpack(method.encode(x[1200:]), 16)
    assert np.abs(2 * bits.mean(axis=0) - 1).mean() < 0.7
    if method.supervised:
        lsh = METHODS["lsh"](16).fit(x[:1200])
        assert (
            mean_average_precision(method, x, LABELS, 1200)
            > mean_average_precision(lsh, x, LABELS, 1200) + 0.05
        )


def test_lsh_collides_by_the_angle():
    x = RNG.standard_normal((5000, 8))
    x -= x.mean(axis=0)
    methods = [METHODS["lsh"](200, seed=seed).fit(x) for seed in range(20)]
    for angle in (0.2, 1.0, 2.5):
        pair = np.array([[1, 0], [np.cos(angle), np.sin(angle)]]) @ np.eye(8)[:2]
        one, other = np.hstack(
            [packed_codes.unpack(method.encode(pair), 200) for method in methods]
        )
        assert np.mean(one != other) == pytest.approx(angle / np.pi, abs=0.03)


def test_itq_turns_and_its_loss_never_rises():
    projected = RNG.standard_normal((500, 12)) * np.linspace(3, 1, 12)
    losses = []
    rotation = itq.rotate(projected, np.random.default_rng(1), losses)
    assert np.allclose(rotation.T @ rotation, np.eye(12))
    assert len(losses) == 50 and losses[-1] < 0.98 * losses[0]
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()


def test_itq_cca_has_more_bits_than_directions():
    method = METHODS["itq_cca"](24).fit(CLUSTERS, LABELS)
    assert np.linalg.matrix_rank(method.projection) == CLASSES - 1
    assert len(np.unique(method.encode(CENTRES), axis=0)) == CLASSES


def test_sh_takes_the_smoothest_functions():
    box = np.random.default_rng(0).uniform(size=(200_000, 3)) * [8, 4, 1]
    method = METHODS["sh"](4).fit(box)
    # Half waves over the longest side: 1/8, 2/8, 3/8, and 1/4 over the second.
    assert sorted(method.frequencies / np.pi * 8) == pytest.approx([1, 2, 2, 3], rel=0.01)
    middle = box.mean(axis=0)
    bit = list(np.round(method.frequencies / np.pi * 8)).index(1)
    axis = np.abs(method.directions[:, method.axes[bit]]).argmax()
    assert axis == 0
    left, right = (method.project([middle + step * np.eye(3)[0]])[0, bit] for step in (-3, 3))
    assert left * right < 0 and abs(left) == pytest.approx(np.cos(np.pi / 8), abs=0.02)


def test_itq_cca_weighs_directions_by_their_correlation():
    x = CLUSTERS + 8 * RNG.standard_normal(CLUSTERS.shape)
    method = METHODS["itq_cca"](12).fit(x, LABELS)
    a, b = (
        np.linalg.svd(values - values.mean(axis=0), full_matrices=False)[0]
        for values in (x, one_hot(LABELS))
    )
    wanted = np.linalg.svd(a.T @ b[:, : CLASSES - 1], compute_uv=False)
    spreads = np.linalg.svd(method.project(x), compute_uv=False) / np.sqrt(len(x))
    assert wanted.max() < 0.95 and spreads[: CLASSES - 1] == pytest.approx(wanted, rel=1e-3)


def test_ksh_gains_by_smoothing(monkeypatch):
    x = CLUSTERS + 8 * RNG.standard_normal(CLUSTERS.shape)
    objective = METHODS["ksh"](8).fit(x, LABELS).objectives[-1]
    monkeypatch.setattr(ksh, "_smoothed", lambda k, residual, a: a)
    assert objective < 0.97 * METHODS["ksh"](8).fit(x, LABELS).objectives[-1]


def test_mlhs_loss_of_a_pair():
    """By hand: of dissimilar and of similar pairs at distances 0 to 4, rho 2."""
    expected = [[1, 2 / 3, 1 / 3, 0, 0], [0, 0, 1 / 3, 2 / 3, 1]]
    assert mlh.pair_losses(2, 4) == pytest.approx(np.array(expected))


def test_ksh_comes_closer_with_each_bit():
    method = METHODS["ksh"](16).fit(CLUSTERS, LABELS)
    assert (np.diff(method.objectives) < 0).all()
    b = signs(method.project(CLUSTERS))
    left = 16 * Similarities(LABELS).rows(slice(None)) - b @ b.T
    assert method.objectives[-1] == pytest.approx(np.mean(left**2), rel=1e-3)


def test_sdh_never_goes_back():
    noisy = LABELS.copy()
    noisy[::7] = RNG.integers(CLASSES, size=len(noisy[::7]))
    method = METHODS["sdh"](12).fit(CLUSTERS, noisy)
    steps = np.diff(method.objectives)
    assert (steps <= 1e-9 * method.objectives[0]).all() and steps.min() < 0
    # Hash functions have an offset: their mean is that of the codes.
    assert np.allclose(method.project(CLUSTERS).mean(axis=0), method.codes.mean(axis=0), atol=1e-3)


def test_signs_are_improved_to_where_no_column_can_be():
    b, w = signs(RNG.standard_normal((50, 6))), RNG.standard_normal((6, 4))
    pull = RNG.standard_normal((50, 6))

    def value(b):
        return np.sum((b @ w) ** 2, axis=1) - 2 * np.sum(b * pull, axis=1)

    before = value(b)
    improve_signs(b, w, pull)
    after = value(b)
    assert (after <= before).all() and (after < before).any()
    for bit in range(6):
        flipped = b.copy()
        flipped[:, bit] *= -1
        assert (value(flipped) >= after - 1e-9).all()


@pytest.mark.parametrize("supervised", [False, True])
def test_bdnn_gradient(supervised):
    x, b = RNG.standard_normal((12, 5)), signs(RNG.standard_normal((12, 3)))
    layers = [
        (RNG.standard_normal(shape), RNG.standard_normal(shape[1]))
        for shape in ((5, 4), (4, 4), (4, 3))
    ]
    similarities = Similarities(np.arange(12) % 3) if supervised else None
    value, gradients = bdnn.objective(layers, x, b, similarities)
    h = bdnn._forward(layers, x)[-1]
    wanted = (
        1e-5 / 2 * sum(np.sum(w**2) for w, _ in layers)
        + 5e-2 / 24 * np.sum((h - b) ** 2)
        + 5e-7 / 24 * np.sum(h.sum(0) ** 2)
        + 1e-2 / 2 * np.sum((h.T @ h / 12 - np.eye(3)) ** 2)
    )
    if supervised:
        wanted += 1e-2 / 24 * np.sum((h @ h.T / 3 - similarities.rows(slice(None))) ** 2)
    assert value == pytest.approx(wanted)
    for (weights, biases), slopes in zip(layers, gradients):
        for array, slope in zip((weights, biases), slopes):
            for place in np.ndindex(array.shape):
                kept = array[place]
                values = []
                for step in (1e-5, -1e-5):
                    array[place] = kept + step
                    values.append(bdnn.objective(layers, x, b, similarities)[0])
                array[place] = kept
                assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope[place], abs=1e-7)


@pytest.mark.parametrize("name", ["uh_bdnn", "sh_bdnn"])
def test_bdnn_projects_many_features(name, monkeypatch):
    """Codes do not depend on directions that vary little."""
    x = np.random.default_rng(0).normal(0, [3, 2, 1, 1, 1e-3, 1e-3], (60, 6))
    labels = np.arange(60) % 3
    plain = METHODS[name](4, 1).fit(x[:, :4], labels)
    assert plain.directions is None
    monkeypatch.setattr(bdnn, "MAX_FEATURES", 4)
    projected = METHODS[name](4, 1).fit(x, labels)
    assert projected.directions.shape == (6, 4)
    assert np.abs(projected.directions[4:]).max() < 0.01
    assert projected.layers[0][0].shape[0] == 4
    other = x.copy()
    other[:, 4:] *= -1
    assert (projected.encode(x) == projected.encode(other)).all()


@pytest.mark.parametrize("name", ["uh_bdnn", "sh_bdnn"])
def test_bdnn_codes_are_balanced_and_differ(name):
    method = METHODS[name](8).fit(CLUSTERS, LABELS)
    assert method.objectives == sorted(method.objectives, reverse=True)
    h = method.project(CLUSTERS)
    assert np.abs(np.abs(h) - 1).mean() < 0.5  # close to binary
    b = signs(h)
    assert np.abs(b.mean(axis=0)).max() < 0.7
    distinct = np.abs(np.corrcoef(b.T)[~np.eye(8, dtype=bool)])
    assert distinct.mean() < 0.6


@pytest.mark.parametrize("name", ["uh_bdnn", "sh_bdnn"])
def test_bdnn_objective(name):
    """As the paper writes it, of the network and the codes that a round ends with."""
    x, labels = CLUSTERS[:60] - CLUSTERS[:60].mean(axis=0), LABELS[:60]
    method = METHODS[name](4)
    first = {}  # codes, and their part of the objective
    codes_of = method._codes
    method._codes = lambda x, b, h: first.setdefault("codes", codes_of(x, b, h))
    layers, value = next(
        method._rounds(x, labels if method.supervised else None, np.random.default_rng(0), 5)
    )
    (b, codes_part), h = first["codes"], bdnn._forward(layers, x)[-1]
    network, _ = bdnn.objective(layers, x, b, Similarities(labels) if method.supervised else None)
    assert value == pytest.approx(network + codes_part)
    if name == "uh_bdnn":
        # The least squares of the samples on the codes before, with an offset; no codes
        # beside the new ones rebuild the samples better and are as close to h.
        kept = signs(b)
        before = np.column_stack([_first_codes(method, x), np.ones(60)])
        ridge = np.diag([1e-5 * 60] * 4 + [0])
        w = np.linalg.solve(before.T @ before + ridge, before.T @ x)

        def cost(b):
            rebuilt = np.column_stack([b, np.ones(60)]) @ w
            return np.sum((x - rebuilt) ** 2, axis=1) + 0.05 * np.sum((h - b) ** 2, axis=1)

        for bit in range(4):
            flipped = kept.copy()
            flipped[:, bit] *= -1
            assert (cost(flipped) >= cost(kept) - 1e-9).all()
        rebuilt = np.column_stack([kept, np.ones(60)]) @ w
        assert codes_part == pytest.approx(
            np.sum((x - rebuilt) ** 2) / 120 + 1e-5 / 2 * np.sum(w[:4] ** 2)
        )


def _first_codes(method, x):
    projected = x @ principal_directions(x, method.bits)
    return signs(projected @ itq.rotate(projected, np.random.default_rng(0)))


def test_mlh_finds_the_most_violating_codes():
    """Against all codes there are."""
    a, b = RNG.standard_normal((2, 20, 4))
    losses = RNG.uniform(0, 5, (20, 5))
    every = signs(np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T)
    g, h = mlh.most_violating(a, b, losses)
    for i in range(20):

        def value(g, h, i=i):
            return losses[i][(g != h).sum(axis=-1)] + g @ a[i] + h @ b[i]

        assert value(g[i], h[i]) == pytest.approx(value(every[:, :4], every[:, 4:]).max())


def test_mlh_loses_less_and_less():
    method = METHODS["mlh"](16).fit(CLUSTERS, LABELS)
    assert np.mean(method.losses[-100:]) < 0.3 * np.mean(method.losses[:20])
    assert 1 <= method.radius <= 15


def test_mlhs_radii_are_about_where_random_hyperplanes_have_recall():
    method = METHODS["mlh"](32)
    close, far = (
        method._radii(unit(CLUSTERS + noise), LABELS, np.random.default_rng(0))
        for noise in (0, 20 * RNG.standard_normal(CLUSTERS.shape))
    )
    # Nothing below 1; half of the bits, if similar by chance.
    assert close[0] >= 1 and close[-1] < 11 and len(close) >= 3
    assert np.diff(far).tolist() == [2, 2, 2, 2] and 13 <= far[2] <= 16


def test_bre_takes_the_best_weight():
    part, weights = RNG.standard_normal((30, 4)), RNG.standard_normal(4)
    cost = RNG.standard_normal((30, 30))
    cost += cost.T

    def value(weight):
        changed = weights.copy()
        changed[1] = weight
        y = signs(part @ changed)
        return np.sum(cost * (y != y[:, np.newaxis]))

    cost_of_best = value(bre.best_weight(part, weights, 1, cost))
    assert cost_of_best <= value(weights[1])
    assert cost_of_best == pytest.approx(min(value(w) for w in np.linspace(-60, 60, 50_001)))
    # Samples that are the same change sides together.
    part = np.repeat(part, 2, axis=0)
    cost = RNG.standard_normal((60, 60))
    cost += cost.T
    assert value(bre.best_weight(part, weights, 1, cost)) == pytest.approx(
        min(value(w) for w in np.linspace(-60, 60, 50_001))
    )


def test_bre_keeps_a_weight_that_changes_nothing():
    for _ in range(40):
        part, weights = RNG.standard_normal((30, 4)), RNG.standard_normal(4)
        part[:, 1] = 0
        y = signs(part @ weights)
        cost = RNG.standard_normal((30, 30)).astype(np.float32)
        cost += cost.T
        # y^T cost y is 0 up to rounding, and rounding must not look like a gain.
        cost -= (np.outer(y, y) * (y @ cost @ y / 900)).astype(np.float32)
        assert bre.best_weight(part, weights, 1, cost) == weights[1]


def test_features_that_cannot_be_computed_with(monkeypatch):
    def singular(*matrices):
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr("scipy.linalg.eigh", singular)
    features = RNG.standard_normal((60, 8)) * 1e6
    with pytest.raises(
        UserError, match=r"itq_cca cannot be fitted .*values go to [\d.]+e\+06: scale"
    ):
        METHODS["itq_cca"](4).fit(features, np.arange(60) % 3)


def test_bre_comes_closer_with_each_sweep():
    method = METHODS["bre"](12).fit(CLUSTERS[:200], LABELS[:200])
    assert (np.diff(method.objectives) <= 0).all()
    assert method.objectives[-1] < 0.9 * method.objectives[0]
    s = signs(method.project(CLUSTERS[:200]))
    apart = (12 - s @ s.T) / 24
    wanted = LABELS[:200, np.newaxis] != LABELS[:200]
    assert np.mean((wanted - apart) ** 2) == pytest.approx(method.objectives[-1])


def test_labels_of_both_forms():
    assert np.array_equal(one_hot(np.array([3, 1, 3])), [[0, 1], [1, 0], [0, 1]])
    multi = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]], np.uint8)
    wanted = np.array([[1, -1, 1], [-1, 1, -1], [1, -1, 1]])
    for labels in (multi, np.array([7, 3, 7])):
        similarities = Similarities(labels)
        assert np.array_equal(similarities.rows([0, 1, 2]), wanted)
        v = RNG.standard_normal((3, 2))
        assert np.allclose(similarities @ v, wanted @ v, atol=1e-6)
        assert np.allclose(similarities @ v[:, 0], wanted @ v[:, 0], atol=1e-6)
    hot = np.eye(CLASSES, dtype=np.uint8)[LABELS]
    for name in SUPERVISED:
        one, other = (
            METHODS[name](8).fit(CLUSTERS[:400], labels[:400]).encode(CLUSTERS)
            for labels in (LABELS, hot)
        )
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_one_sentence(name):
    method = METHODS[name]
    with pytest.raises(UserError, match=f"{method.name}: 8 samples are too few for 8 bits"):
        method(8).fit(CLUSTERS[:8], LABELS[:8])
    with pytest.raises(UserError, match="all 1500 samples are the same"):
        method(8).fit(np.ones((1500, 64)), LABELS)
    with pytest.raises(UserError, match="not finite"):
        method(8).fit(np.where(CLUSTERS > 12, np.nan, CLUSTERS), LABELS)
    with pytest.raises(UserError, match=r"features of shape \(1500,\)"):
        method(8).fit(CLUSTERS[:, 0], LABELS)
    for bits in (0, 256):
        with pytest.raises(UserError, match=f"{bits} bits: codes have 1 to 255"):
            method(bits)
    with pytest.raises(UserError, match="seed -1"):
        method(8, seed=-1)
    with pytest.raises(UserError, match="was fitted to 64 features; these are 63"):
        method(8).fit(CLUSTERS, LABELS).encode(CLUSTERS[:, 1:])
    if method.supervised:
        with pytest.raises(UserError, match="it needs labels"):
            method(8).fit(CLUSTERS)
        with pytest.raises(UserError, match="9 labels for 1500 samples"):
            method(8).fit(CLUSTERS, LABELS[:9])
        with pytest.raises(UserError, match="all samples have the same labels"):
            method(8).fit(CLUSTERS, np.zeros(1500, int))
        for labels in (LABELS.astype(float), LABELS[:, np.newaxis], LABELS[:, np.newaxis] + [0, 7]):
            with pytest.raises(UserError, match="whole numbers .n,., or 0 and 1"):
                method(8).fit(CLUSTERS, labels)


@pytest.mark.parametrize(
    "name, x, message",
    [
        ("itq", CLUSTERS[:, :5], "8 principal directions are asked of 5 features"),
        ("itq", np.repeat(CLUSTERS[:, :5], 3, axis=1), "of 15 features that vary along 5"),
        ("ksh", CLUSTERS[:200], "300 anchors are to be drawn from 200 samples"),
    ],
)
def test_what_a_method_cannot_do(name, x, message):
    with pytest.raises(UserError, match=message):
        METHODS[name](8).fit(x, np.arange(len(x)) % 2)


def test_features_are_left_as_they_are():
    x = CLUSTERS.copy()
    for name in METHODS:
        METHODS[name](8).fit(x[:500], LABELS[:500]).encode(x)
        assert np.array_equal(x, CLUSTERS)


def test_sh_bdnn_learns_where_no_held_out_samples_are_alike():
    x = np.random.default_rng(0).normal(size=(40, 8))
    method = METHODS["sh_bdnn"](4, 1).fit(x, np.arange(40) % 20)
    assert len(method.objectives) >= 1 and method.encode(x).shape == (40, 1)
