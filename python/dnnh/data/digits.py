"""scikit-learn's handwritten digits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import files
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError


def prepare_digits(source: files.StrPath | None = None) -> Dataset[NDArray[np.uint8]]:
    """scikit-learn's 1,797 handwritten digits: 8x8 scans, grey levels from 0 to 16."""
    if source is not None:
        raise UserError("the digits come with scikit-learn; leave --from out")
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    # Levels 0..16 become 0..255.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=images[..., np.newaxis],  # (1797, 8, 8, 1)
        labels=digits.target.astype(np.int64),
        classes=tuple("0123456789"),
        source="scikit-learn's handwritten digits",
    )
