"""Which trained net codes the images."""

import dataclasses
import re

from dnnh import nets, paths
from dnnh.errors import UserError

# What tools say of their --model, as find_model chooses.
CHOICE = ("weights (default: the newest snapshot of the net, else the released model, else "
          "the newest of the net's trainings with another seed or number of iterations)")


def models_of(spec):
    """The weights that there are of a net, whatever seed or number of iterations they are of.

    Parameters
    ----------
    spec : dnnh.nets.NetSpec

    Returns
    -------
    list of (path, sentence) : the .caffemodel files and what they are: snapshots of this
    very training, the newest first; the released one; snapshots of the other trainings,
    the newest first
    """
    plain = dataclasses.replace(spec.trained, seed=1, iterations=0)
    stem = dataclasses.replace(plain, bits=nets.DEFAULT_BITS).name
    name = re.compile(
        "(" + re.escape(stem) + r"(?:_seed\d+)?(?:_\d+iterations)?"
        + re.escape(plain.name.removeprefix(stem)) + r")_iter_(\d+)\.caffemodel")
    snapshots, others = [], []
    for path in (paths.ROOT / spec.snapshot_prefix).parent.glob("*.caffemodel"):
        if match := name.fullmatch(path.name):
            # Seconds first: a new training begins again at small iterations.
            (snapshots if match[1] == spec.trained.name else others).append(
                (path.stat().st_mtime, int(match[2]), path))
    released = paths.MODELS / f"{plain.name}.caffemodel"
    return [(path, f"{path.relative_to(paths.ROOT)}, {what}") for path, what in (
        *_newest_first(snapshots, "snapshot"),
        *([(released, "the released model")] if released.is_file() else []),
        *_newest_first(others, "snapshot of another training of this net"))]


def _newest_first(found, what):
    return [(path, f"the newest {what}" if i == 0 else f"an older {what}")
            for i, (*_, path) in enumerate(sorted(found, reverse=True))]


def find_model(spec, model=None):
    """Choose the weights of a net.

    Parameters
    ----------
    spec : dnnh.nets.NetSpec
    model : path, optional
        Weights that the user names.

    Returns
    -------
    (path, sentence) : the .caffemodel file, and what it is: the user's, else the first of
    :func:`models_of`.

    Raises
    ------
    UserError
        If there is none.
    """
    if model is not None:
        if not model.is_file():
            raise UserError(f"{model} is not there; give a .caffemodel file, or leave "
                            "--model out for the newest snapshot")
        return model, f"{model}, as asked"
    if models := models_of(spec):
        return models[0]
    solver = spec.files["solver"]
    make = ["python tools/make_prototxt.py", f"--dataset {spec.dataset}",
            *[f"--variant {spec.variant}"] * bool(spec.variant),
            *["--validation"] * spec.validation, f"--bits {spec.bits}"]
    first = "" if solver.exists() else f"'{' '.join(make)}' and "
    raise UserError(
        f"there is no trained net '{spec.trained.name}': no snapshot "
        f"{spec.snapshot_prefix}_iter_*.caffemodel and no released model. Train it "
        f"with {first}'caffe train -solver {solver.relative_to(paths.ROOT)}', "
        "or name weights with --model")
