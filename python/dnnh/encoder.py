"""Codes of images, through pycaffe."""

import os
import pathlib
import tempfile

import numpy as np
from tqdm import tqdm

from dnnh import ranking
from dnnh.errors import UserError

BATCH = 100


class Encoder:
    """A trained net that codes images.

    Bit i of an image is 1 where output i is above 0.5 (Lai et al., CVPR 2015,
    section 3.4).

    Parameters
    ----------
    deploy : str
        The text of a deploy prototxt with an input ``images`` and one output, the
        codes; for example from dnnh.nets.deploy.
    weights : path of a .caffemodel

    Raises
    ------
    UserError
        If the net has not one output, or the weights are not a model file or belong to
        another net.
    """

    def __init__(self, deploy, weights):
        caffe = _quiet_caffe()
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(deploy)
            file.flush()
            self._net = caffe.Net(file.name, caffe.TEST)
        weights = pathlib.Path(weights)
        _load_weights(caffe, self._net, weights)
        self._weights = weights
        if len(self._net.outputs) != 1:
            raise UserError("a net that codes images has one output, the codes; this one "
                            f"has {', '.join(self._net.outputs) or 'none'}")
        self._output, = self._net.outputs
        self.bits = self._net.blobs[self._output].shape[1]

    def outputs(self, images):
        """The values behind the bits.

        Parameters
        ----------
        images : uint8 array of shape (n, height, width, channels), n up to BATCH
            or not; as large as the net's input, or larger: then the middle is cut
            out

        Returns
        -------
        float32 array of shape (n, q), in [0, 1].
        """
        blob = self._net.blobs["images"]
        _, channels, height, width = blob.shape
        if (images.ndim != 4 or images.shape[3] != channels
                or images.shape[1] < height or images.shape[2] < width):
            raise UserError(f"images of shape {images.shape[1:]} (height, width, "
                            f"channels) do not fit a net for {height, width, channels}")
        top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        images = images[:, top:top + height, left:left + width]
        if blob.shape[0] != len(images):
            blob.reshape(len(images), channels, height, width)
        blob.data[...] = images.transpose(0, 3, 1, 2)
        outputs = self._net.forward()[self._output].copy()
        if not np.isfinite(outputs).all():
            raise UserError(f"{self._weights} gives outputs that are no numbers: its "
                            "training diverged; take an earlier snapshot, and train "
                            "with a lower learning rate")
        return outputs

    def encode(self, images, description="encoding", rows=None):
        """Packed codes of any number of images, looked at a batch at a time.

        Parameters
        ----------
        images : uint8 array of shape (n, height, width, channels)
        rows : int64 array, optional
            Which of the images; all by default.

        Returns
        -------
        uint8 array of shape (n, ceil(q / 8)), see dnnh.ranking.
        """
        rows = np.arange(len(images)) if rows is None else rows
        codes = np.empty((len(rows), -(-self.bits // 8)), np.uint8)
        with tqdm(total=len(rows), unit="image", desc=description) as progress:
            for start in range(0, len(rows), BATCH):
                batch = images[rows[start:start + BATCH]]
                codes[start:start + BATCH] = ranking.pack(self.outputs(batch) > 0.5)
                progress.update(len(batch))
        return codes


def _quiet_caffe():
    """pycaffe, without the hundreds of lines that building a net logs.

    Its log reads the level once, from the environment, when it is first loaded;
    programs that are started later must not inherit it.
    """
    level = os.environ.get("GLOG_minloglevel")
    os.environ["GLOG_minloglevel"] = level or "2"
    try:
        import caffe
    except ImportError as error:
        raise UserError(f"pycaffe cannot be imported ({error}); build it with 'make', "
                        "and run this with the environment's Python, .venv/bin/python"
                        ) from error
    finally:
        if level is None:
            del os.environ["GLOG_minloglevel"]
    return caffe


def _load_weights(caffe, net, weights):
    """Give a net the weights of a model file, which is checked before each is taken.

    Caffe's own reading ends the whole process on a file that it cannot parse and on a
    blob of another shape or size, and says nothing when no layer's name matches.
    """
    from google.protobuf.message import DecodeError
    message = caffe.proto.caffe_pb2.NetParameter()
    try:
        message.ParseFromString(weights.read_bytes())
    except (DecodeError, OSError) as error:
        raise UserError(f"{weights} is not a .caffemodel file ({error})") from error
    for name, blobs in net.params.items():
        wanted = [tuple(blob.shape) for blob in blobs]
        found = [layer.blobs for layer in message.layer if layer.name == name and layer.blobs]
        if len(found) > 1:
            raise UserError(f"{weights} is damaged: it has the layer '{name}' {len(found)} "
                            "times; take another snapshot")
        stored = [tuple(blob.shape.dim) for blob in found[0]] if found else "no weights"
        if stored != wanted:
            raise UserError(
                f"{weights} does not fit the net: its layer '{name}' has {stored}, the "
                f"net's has {wanted}. Is it of another length or variant? Try another "
                "--bits, --variant or --model")
        for blob, given in zip(blobs, found[0]):
            values = np.array(given.double_data or given.data, np.float32)
            if values.size != blob.data.size:
                raise UserError(f"{weights} is damaged: layer '{name}' has {values.size} "
                                f"weights for the shape {tuple(blob.shape)}; take another "
                                "snapshot")
            blob.data[...] = values.reshape(blob.data.shape)
