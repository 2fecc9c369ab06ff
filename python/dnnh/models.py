"""Which trained net codes the images."""

import re

from dnnh import paths
from dnnh.errors import UserError


def find_model(spec, model=None):
    """Choose the weights of a net.

    Parameters
    ----------
    spec : dnnh.nets.NetSpec
    model : path, optional
        Weights that the user names.

    Returns
    -------
    (path, sentence) : the .caffemodel file, and why it was chosen: the user's, else
    the newest snapshot of this net, else the released one.

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
    snapshots = {}
    for path in (paths.ROOT / spec.snapshot_prefix).parent.glob("*.caffemodel"):
        found = re.fullmatch(re.escape(spec.trained.name) + r"_iter_(\d+)\.caffemodel", path.name)
        if found:
            # Seconds first: a new training begins again at small iterations.
            snapshots[path.stat().st_mtime, int(found[1])] = path
    if snapshots:
        path = snapshots[max(snapshots)]
        return path, f"{path.relative_to(paths.ROOT)}, the newest snapshot"
    released = paths.MODELS / f"{spec.trained.name}.caffemodel"
    if released.is_file():
        return released, f"{released.relative_to(paths.ROOT)}, the released model"
    raise UserError(
        f"there is no trained net '{spec.trained.name}': no snapshot "
        f"{spec.snapshot_prefix}_iter_*.caffemodel and no released model. Train it "
        f"with 'caffe train -solver {spec.files['solver'].relative_to(paths.ROOT)}', "
        "or name weights with --model")
