"""Initial weights with which both sub-networks start alike.

Where they start from different random weights, each bit first means one thing to one of them and
another to the other. The paper (Lai et al., CVPR 2015, section 4.4) does not mention how its two
sub-networks start.
"""

import pathlib

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, model_files, prototxt, pycaffe
from dnnh.nets.specs import NetSpec


def path_of(spec: NetSpec) -> pathlib.Path:
    """Where a net's initial weights lie."""
    return paths.ROOT / f"{spec.snapshot_prefix}_initial.caffemodel"


def shared(spec: NetSpec) -> bytes:
    """A model file whose two sub-networks have the same random weights, those of the fillers.

    Parameters
    ----------
    spec : NetSpec
        Of a net with two sub-networks; its training seed is that of the weights.

    Raises
    ------
    UserError
        If the net has one sub-network.
    """
    first, *others = spec.config.towers
    if not others:
        raise UserError(f"'{spec.method}' has one sub-network; name a net with two")
    pycaffe.load().set_random_seed(spec.train_seed)
    net = caffe_encoder.build(caffe_encoder.parse(prototxt.deploy_text(spec, first)))
    model = pycaffe.messages().NetParameter(name=f"{spec.training_name}_initial")
    for tower in (first, *others):
        for name, blobs in net.params.items():
            model_files.add_layer(
                model, tower + name.removeprefix(first), [blob.data for blob in blobs]
            )
    return model.SerializeToString()
