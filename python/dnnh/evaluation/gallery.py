"""Queries with their nearest images, for the page of a result."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from dnnh import pages
from dnnh.data.dataset import Dataset
from dnnh.evaluation import metrics, ranking
from dnnh.evaluation.codes import Codes

HITS = 12  # of a query


@dataclasses.dataclass(frozen=True)
class GalleryImage:
    """An image on the page.

    Attributes
    ----------
    index : int
        In the data set.
    label : str
        The name of its class, or of its classes.
    uri : str
        The image itself, as a ``data:`` URI.
    """

    index: int
    label: str
    uri: str


@dataclasses.dataclass(frozen=True)
class Hit:
    """A database image near a query, and its Hamming distance."""

    image: GalleryImage
    distance: int
    relevant: bool


@dataclasses.dataclass(frozen=True)
class GalleryRow:
    """A query and its nearest images."""

    query: GalleryImage
    hits: list[Hit]


def gallery(codes: Codes, dataset: Dataset, count: int = 10) -> list[GalleryRow]:
    """Some queries with their nearest images.

    Parameters
    ----------
    codes : Codes with ids
    dataset : Dataset, to which the ids belong
    count : int
        How many queries; they are evenly spread over the order of the labels.
    """
    query_ids, database_ids = codes.query_ids, codes.database_ids
    if query_ids is None or database_ids is None:
        raise ValueError("codes without ids have no images to show")
    is_relevant = metrics.relevance(codes.query_labels, codes.database_labels)
    weighted = codes.bit_weights is not None and ranking.weighted_distances(
        codes.database_codes, codes.bit_weights
    )
    rows = []
    for query in _spread(codes.query_labels, count):
        query_code = codes.query_codes[query : query + 1]
        _, block = next(ranking.distances(query_code, codes.database_codes))
        distances = block[0]
        relevant = is_relevant(query, 1)[0]
        ranked_by = weighted(query_code[0]) if weighted else distances
        nearest = ranking.order(ranked_by)[: HITS + 1]  # one more: the query may be among them
        others = [place for place in nearest if database_ids[place] != query_ids[query]]
        hits = [
            Hit(
                _image(dataset, int(database_ids[place])),
                int(distances[place]),
                bool(relevant[place]),
            )
            for place in others[:HITS]
        ]
        rows.append(GalleryRow(_image(dataset, int(query_ids[query])), hits))
    return rows


def _spread(labels: NDArray, count: int) -> NDArray[np.int64]:
    """Queries, evenly spread over the order of their labels."""
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)  # the first label of each
    by_label = np.argsort(labels, kind="stable")
    if len(by_label) <= count:
        return by_label
    places = np.linspace(0, len(by_label) - 1, count + 2)[1:-1].astype(int)
    return by_label[places]


def _image(dataset: Dataset, index: int) -> GalleryImage:
    return GalleryImage(index, label_name(dataset, index), pages.image_uri(dataset.images[index]))


def label_name(dataset: Dataset, index: int) -> str:
    """The name of an image's class, or of its classes."""
    label = dataset.labels[index]
    if np.ndim(label) == 0:
        return dataset.classes[label]
    return ", ".join(dataset.classes[i] for i in np.flatnonzero(label))
