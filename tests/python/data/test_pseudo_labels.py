"""Pseudo-labels: the nearest mean code, and the most confident of each class."""

import numpy as np

from dnnh.data import pseudo_labels


def test_the_nearest_mean_by_hand():
    labelled = np.array([[0, 0], [0.2, 0], [1, 1], [0, 1]], np.float32)
    labels = np.array([0, 0, 1, 2])
    codes = np.array([[0.1, 0], [1, 0.9], [0.05, 0.6]], np.float32)
    classes, confidence = pseudo_labels.nearest_classes(codes, labelled, labels, 3)
    assert classes.tolist() == [0, 1, 2]
    # Means are (0.1, 0), (1, 1) and (0, 1).
    np.testing.assert_allclose(
        confidence,
        [0.1**2 + 1 - 0, 1 + 0.1**2 - 0.1**2, 0.05**2 + 0.6**2 - 0.05**2 - 0.4**2],
        atol=1e-6,
    )


def test_the_most_confident_of_each_class():
    classes = np.array([0, 1, 0, 0, 1, 0, 0, 1])
    confidence = np.array([5.0, 1, 9, 7, 3, 8, 6, 2])
    # Half of 8 images of 2 classes: 2 of each.
    assert pseudo_labels.most_confident(classes, confidence, 2, 0.5).tolist() == [2, 4, 5, 7]
    # 4 of each would be all of the images; the second class has 3.
    assert pseudo_labels.most_confident(classes, confidence, 2, 1).tolist() == [1, 2, 3, 4, 5, 6, 7]
    # A third class without images leaves less for each.
    assert pseudo_labels.most_confident(classes, confidence, 3, 0.5).tolist() == [2, 4]
