"""What encodes images: a trained net, whatever runs it (dnnh.nets.runtimes)."""

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh import packed_codes, prefetch
from dnnh.errors import UserError

BATCH = 100
BATCHES_AHEAD = 4  # that are decoded while the net computes


class Encoder(abc.ABC):
    """A trained net that encodes images. Thread-safe.

    Bit i of an image is 1 where output i is above 0.5 (Lai et al., CVPR 2015, section 3.4).

    Attributes
    ----------
    bits : int
        q, the length of the codes; of a net that gives features, their number.
    image_shape : tuple of int
        Channels, height and width of the images that the net sees.
    bit_weights : float32 array of shape (q,), or None
        What each bit counts in a weighted Hamming distance, of a net that learns it: the squares
        of the weights of its layer ``bit_weights`` (Zhang et al., TIP 2015).
    """

    bits: int
    image_shape: tuple[int, int, int]
    bit_weights: NDArray[np.float32] | None = None

    def outputs(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The relaxed codes of a batch of images.

        Parameters
        ----------
        images : uint8 array of shape (n, height, width, channels)
            As large as the net's input, or larger: then the centre is cropped.

        Returns
        -------
        float32 array of shape (n, q), in [0, 1]; of a net that gives features, (n, d), any values

        Raises
        ------
        UserError
            If the images do not fit the net, or the outputs are not finite.
        """
        return self._checked(images, rounded=True)

    def unrounded_outputs(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`outputs`, before the piece-wise threshold, which rounds values far from 0.5."""
        return self._checked(images, rounded=False)

    def _checked(self, images: NDArray[np.uint8], rounded: bool) -> NDArray[np.float32]:
        outputs = self._run(centre(images, *self.image_shape), rounded)
        if not np.isfinite(outputs).all():
            raise UserError(
                f"{self._name()} gives outputs that are not finite: its training diverged; take "
                "an earlier snapshot, and train with a lower learning rate"
            )
        return outputs

    @abc.abstractmethod
    def _run(self, images: NDArray[np.uint8], rounded: bool) -> NDArray[np.float32]:
        """The outputs for images of the net's size, after the piece-wise threshold or before it."""

    @abc.abstractmethod
    def _name(self) -> str:
        """The file of the weights, for messages."""

    def encode(
        self,
        images: Any,
        description: str = "encoding",
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.uint8]:
        """Packed codes of any number of images, a batch at a time.

        Parameters
        ----------
        images : uint8 array of shape (n, height, width, channels), or
            dnnh.data.dataset.EncodedImages
        description : str
            Of the progress bar.
        rows : int64 array, optional
            Which of the images; all by default.

        Returns
        -------
        uint8 array of shape (n, ceil(q / 8)), see dnnh.packed_codes
        """
        rows = np.arange(len(images)) if rows is None else rows
        codes = np.empty((len(rows), packed_codes.code_bytes(self.bits)), np.uint8)
        for batch, outputs in self._batches(images, description, rows):
            codes[batch] = packed_codes.pack(outputs > 0.5)
        return codes

    def relaxed_codes(
        self, images: Any, description: str, rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """As :meth:`encode`, without rounding to bits: float32 array of shape (n, q).

        Outputs of the piecewise threshold, in [0, 1]; features, where the net gives those.
        """
        codes = np.empty((len(rows), self.bits), np.float32)
        for batch, outputs in self._batches(images, description, rows):
            codes[batch] = outputs
        return codes

    def _batches(
        self, images: Any, description: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The outputs of a batch after the other, and which of the rows they are of."""
        starts = range(0, len(rows), BATCH)
        batches = prefetch.in_order(
            lambda start: images[rows[start : start + BATCH]], starts, BATCHES_AHEAD
        )
        with tqdm(total=len(rows), unit=" images", desc=description) as progress:
            for start, batch in zip(starts, batches):
                yield slice(start, start + len(batch)), self.outputs(batch)
                progress.update(len(batch))


def centre(images: NDArray[np.uint8], channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """The centres of images, uint8 of shape (n, height, width, channels), of a net's size.

    Raises
    ------
    UserError
        If they are smaller, or have other channels.
    """
    if (
        images.ndim != 4
        or images.shape[3] != channels
        or images.shape[1] < height
        or images.shape[2] < width
    ):
        raise UserError(
            f"images of shape {images.shape[1:]} (height, width, channels) do not fit a net "
            f"for {height, width, channels}"
        )
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]
