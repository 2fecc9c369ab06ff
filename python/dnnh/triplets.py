"""Random triplets from labels, and the LMDB that Caffe's Data layer reads.

A record is a Datum of 3 C channels: the C planes of the query image, then those
of the similar one, then those of the dissimilar one, bytes 0..255, RGB where C
is 3. ``layout.json`` beside the database's own file says so too, with the split,
the seed and the counts. (It cannot be a record: the Data layer would read it as
a triplet.)
"""

import json
import shutil

import lmdb
import numpy as np
from tqdm import tqdm

from dnnh import paths
from dnnh.errors import UserError

MEMBERS = ("query", "similar", "dissimilar")
PAGE = 4096                 # LMDB's unit; a large value takes whole pages
RECORDS_AT_ONCE = 1000


def draw_triplets(labels, count, seed=0):
    """Draw random triplets.

    The query is uniform over the images; the similar one uniform over the
    others that share a label with it; the dissimilar one uniform over those
    that share none (Lai et al., CVPR 2015, section 4.1: "randomly constructed
    based on the image class labels").

    Parameters
    ----------
    labels : int64 array of shape (n,), or uint8 multi-hot of shape (n, classes)
    count : int
    seed : int

    Returns
    -------
    int64 array of shape (count, 3): query, similar, dissimilar, indices into
    ``labels``.

    Raises
    ------
    UserError
        If no triplet is asked for, or some image has nothing similar or
        nothing dissimilar.
    """
    if count < 1:
        raise UserError(f"{count} triplets were asked for; ask for at least 1")
    hot = _multi_hot(labels)                       # (n, classes)
    _check_possible(hot)
    rng = np.random.default_rng(seed)
    query = rng.integers(len(hot), size=count)
    similar = _draw_partners(hot, query, True, rng)
    dissimilar = _draw_partners(hot, query, False, rng)
    return np.stack([query, similar, dissimilar], axis=1)


def _multi_hot(labels):
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return labels.astype(bool)
    return labels[:, np.newaxis] == np.unique(labels)


def _check_possible(hot):
    """Every image must have a partner of both kinds."""
    hot = hot.astype(np.float32)
    for start in range(0, len(hot), 4096):
        block = hot[start:start + 4096]
        shares = (block @ hot.T > 0).sum(1)        # itself included
        unlabelled = block.sum(1) == 0
        for kind, wrong in (
                ("has no label", unlabelled),
                ("has no similar image: no other one has a label of its",
                 (shares == 1) & ~unlabelled),
                ("has no dissimilar image: every one shares a label with it",
                 shares == len(hot))):
            if wrong.any():
                raise UserError(
                    f"training image {start + np.flatnonzero(wrong)[0]} {kind}; "
                    "triplets need two images of a class and two classes")


def _draw_partners(hot, query, similar, rng):
    """Uniform partners by rejection: draw for all, redraw those that don't fit."""
    partner = np.empty_like(query)
    waiting = np.arange(len(query))
    while len(waiting):
        drawn = rng.integers(len(hot), size=len(waiting))
        ours = query[waiting]
        fits = (hot[ours] & hot[drawn]).any(1) == similar
        fits &= drawn != ours
        partner[waiting[fits]] = drawn[fits]
        waiting = waiting[~fits]
    return partner


def write_lmdb(path, images, triplets, about):
    """Write triplets as an LMDB of Datums, whole or not at all.

    Parameters
    ----------
    path : path of the folder to write; an earlier database is replaced
    images : uint8 array of shape (n, height, width, channels)
    triplets : int64 array of shape (count, 3), indices into ``images``
    about : dict
        Goes into ``layout.json`` with the layout itself.

    Raises
    ------
    UserError
        If the disk has no room, or ``path`` is something else than a triplet
        database.
    """
    from caffe.proto.caffe_pb2 import Datum
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))   # (n, C, H, W)
    _, channels, height, width = planes.shape
    datum = Datum(channels=3 * channels, height=height, width=width,
                  data=bytes(planes[0].nbytes * 3))
    record = datum.ByteSize() + 32                    # with key and node
    if record < PAGE // 2:                            # several share a page
        needed = -(-len(triplets) // (PAGE // record)) * PAGE
    else:
        needed = len(triplets) * -(-record // PAGE) * PAGE
    needed += needed // 16 + (1 << 20)                # the tree above them
    layout = {
        "record": [f"{member} image, {channels} x {height} x {width} bytes"
                   for member in MEMBERS],
        "triplets": len(triplets), **about}
    try:
        path = path.resolve()
        if path.exists() and not _is_ours(path):
            raise UserError(f"{path} is there and no triplet database; it is left "
                            "alone. Give --output the name of a new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path, needed)
        with paths.written_whole(path) as partial:
            partial.mkdir()
            with lmdb.open(str(partial), map_size=2 * needed, sync=False,
                           lock=False) as database:
                with tqdm(total=len(triplets), unit="triplet", unit_scale=True,
                          desc=f"writing {path.name}") as progress:
                    for start in range(0, len(triplets), RECORDS_AT_ONCE):
                        chunk = triplets[start:start + RECORDS_AT_ONCE]
                        _write_records(database, start, planes[chunk], datum)
                        progress.update(len(chunk))
                database.sync(True)
            (partial / "layout.json").write_text(json.dumps(layout, indent=1) + "\n")
    except (lmdb.Error, OSError) as error:
        raise UserError(f"{path} could not be written ({error}); nothing is left of "
                        "it. Is the disk full, or the folder not yours?") from error


def _is_ours(path):
    """Whether a folder holds one of our databases and nothing else."""
    return path.is_dir() and {"data.mdb", "layout.json"} <= {
        entry.name for entry in path.iterdir()} <= {
            "data.mdb", "lock.mdb", "layout.json"}


def _check_room(path, needed):
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f"{path} needs about {needed / 1e9:.1f} GB and the disk has "
                        f"{free / 1e9:.1f} GB free; ask for fewer triplets or write "
                        "elsewhere with --output")


def _write_records(database, start, planes, datum):
    """Append the records of ``planes``, (count, 3, C, H, W)."""
    records = []
    for i, triplet in enumerate(planes):
        datum.data = triplet.tobytes()
        records.append((b"%010d" % (start + i), datum.SerializeToString()))
    with database.begin(write=True) as transaction:
        _, added = transaction.cursor().putmulti(records, append=True)
    if added != len(records):
        raise lmdb.Error(f"{added} of {len(records)} records were taken")


def read_layout(path):
    """What ``layout.json`` of a triplet database says, as a dict."""
    try:
        return json.loads((path / "layout.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a triplet database of ours ({error}); write "
                        "it with 'python tools/make_triplets.py'") from error
