"""From an image to the images of a collection that are most alike."""

import dataclasses
import pathlib
import threading

from dnnh import collection, encoder, models, nets, ranking, search, sources
from dnnh.datasets import trees
from dnnh.errors import UserError


@dataclasses.dataclass(frozen=True)
class Hit:
    """An image of the collection: its row, name, labels, and distance to the query."""

    row: int
    name: str
    labels: tuple
    distance: int


class Finder:
    """A collection, the net that coded it, and an index of the codes.

    Parameters
    ----------
    path : path of a collection, as tools/encode.py writes it
    model : path of the net's weights; by default the newest snapshot or the released model
    engine : str
        One of dnnh.search.ENGINES.

    Raises
    ------
    UserError
        If the collection is none, or the weights are not those that it was coded with.
    """

    def __init__(self, path, model=None, engine="numpy"):
        self.collection = collection.load(path)
        self.spec = nets.net_spec(self.collection.dataset, self.collection.variant,
                                  self.collection.bits)
        weights, _ = models.find_model(self.spec, model)
        if collection.digest(weights) != self.collection.weights:
            raise UserError(f"{path} was coded with other weights than {weights}; name those "
                            "with --model, or code the images anew")
        subnetworks = self.spec.recipe.subnetworks
        # The first codes queries, where there are two (section 4.4).
        self._net = encoder.Encoder(nets.deploy(self.spec, subnetworks[0]), weights)
        self._alone = threading.Lock()         # Caffe's nets are for one thread at a time
        self.index = search.Index(self.collection.bits, engine)
        self.index.add(self.collection.codes)

    def code(self, data, where):
        """The packed code, uint8 (1, bytes), of an image file's bytes.

        ``where`` names it in the UserError that is raised where it is no image.
        """
        image = sources.fitted(trees.decode_image(data, where), self.spec.recipe)
        with self._alone:
            outputs = self._net.outputs(image[None])
        return ranking.pack(outputs > 0.5)

    def nearest(self, code, top):
        """The ``top`` nearest images of a code (1, bytes): list of Hit."""
        distances, rows = self.index.search(code, top)
        return self._hits(rows[0], distances[0])

    def within(self, code, radius, most):
        """Up to ``most`` images within a radius of a code, nearest first."""
        distances, rows = self.index.within(code[0], radius)
        return self._hits(rows[:most], distances[:most])

    def _hits(self, rows, distances):
        hits = []
        for row, distance in zip(rows.tolist(), distances.tolist()):
            if row >= 0:
                hits.append(Hit(row, self.collection.names(row)[0],
                                self.collection.labels(row)[0], distance))
        return hits

    def image(self, name):
        """The bytes of an image of the collection, if it is a file that is still there.

        Raises
        ------
        UserError
            If it is not.
        """
        source = pathlib.Path(self.collection.source)
        root = source if source.is_dir() else source.parent
        path = root / name
        if not path.is_file():
            raise UserError(f"{path} is no longer there")
        return trees.read_file(path)
