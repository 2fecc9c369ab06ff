"""From an image to the images of a collection that are most alike."""

import contextlib
import dataclasses
import threading

import numpy as np

from dnnh import (collection, encoder, milvus, models, nets, paths, ranking, search, sources,
                  spark)
from dnnh.errors import UserError

ENGINES = (*search.ENGINES, "milvus", "spark")


@contextlib.contextmanager
def opened(path, engine="numpy", address=None, master=None):
    """Yield a collection and an index of its codes: (Collection, Index).

    Parameters
    ----------
    path : path of a collection, as tools/encode.py writes it
    engine : str
        One of ENGINES.
    address : str, optional
        Of Milvus: see dnnh.milvus.Index.
    master : str, optional
        Of Spark: see dnnh.spark.session.

    Raises
    ------
    UserError
        If it is no collection, or the engine cannot have it.
    """
    for name, value, flag in (("milvus", address, "--address"), ("spark", master, "--master")):
        if value is not None and engine != name:
            raise UserError(f"{flag} is for the engine '{name}'; this is '{engine}'")
    if engine == "spark":
        with spark.session(master or spark.MASTER) as session:
            yield spark.load(session, path)
        return
    found = collection.load(path)
    if engine == "milvus":
        if not address:
            raise UserError("the engine 'milvus' needs --address: http://host:19530, or a "
                            "file for the embedded edition, codes.db")
        with contextlib.closing(milvus.Index(found.codes, found.bits, address)) as index:
            yield found, index
        return
    index = search.Index(found.bits, engine)
    index.add(found.codes)
    yield found, index


class Coder:
    """The net that a collection was coded with, for queries.

    Parameters
    ----------
    found : dnnh.collection.Collection
    model : path of the net's weights; by default those of snapshots/ and models/ that the
        collection was coded with

    Raises
    ------
    UserError
        If the weights are not those that the collection was coded with.
    """

    def __init__(self, found, model=None):
        self.spec = nets.net_spec(found.dataset, found.variant, found.bits)
        choice = [models.find_model(self.spec, model)] if model else (
            models.models_of(self.spec))
        weights = next((path for path, _ in choice
                        if paths.digest(path) == found.weights), None)
        if weights is None:
            raise UserError(f"the collection of {found.source} was coded with other weights "
                            f"than {model or f'any of {self.spec.trained.name} here'}; name "
                            "those with --model, or code the images anew")
        # The first codes queries, where there are two (section 4.4).
        self._net = encoder.Encoder(nets.deploy(self.spec, self.spec.recipe.subnetworks[0]),
                                    weights)
        self._alone = threading.Lock()         # Caffe's nets are for one thread at a time

    def code(self, image):
        """The packed code, uint8 (1, bytes), of an image, uint8 (height, width, 3)."""
        image = sources.fitted(image, self.spec.recipe)
        with self._alone:
            outputs = self._net.outputs(image[None])
        return ranking.pack(outputs > 0.5)


@dataclasses.dataclass(frozen=True)
class Hit:
    """An image of the collection: its row, name, labels, and distance to the query."""

    row: int
    name: str
    labels: tuple
    distance: int


class Finder:
    """A collection and its index, which answer with names.

    Parameters
    ----------
    found : dnnh.collection.Collection
    index : dnnh.search.Index, or one of its kind
    """

    def __init__(self, found, index):
        self.collection, self.index = found, index

    def nearest(self, codes, top):
        """The ``top`` nearest images of each code (m, bytes): m lists of Hit."""
        return self._hits(*self.index.search(codes, top))

    def within(self, code, radius, most):
        """Up to ``most`` images within a radius of a code (bytes,), nearest first."""
        distances, rows = self.index.within(code, radius)
        return self._hits(distances[None, :most], rows[None, :most])[0]

    def _hits(self, distances, rows):
        there = np.unique(rows[rows >= 0])        # sorted, as HDF5 wants to be asked
        if not len(there):
            return [[] for _ in rows]
        known = dict(zip(there.tolist(), zip(self.collection.names(there),
                                             self.collection.labels(there))))
        return [[Hit(row, *known[row], distance) for row, distance in zip(*both) if row >= 0]
                for both in zip(rows.tolist(), distances.tolist())]

    def image(self, name):
        """An image of the collection, uint8 (height, width, 3), if it is still there.

        Raises
        ------
        UserError
            If it is not.
        """
        return sources.item(self.collection.source, name, ()).read()
