"""HTML pages: Jinja templates of ``templates/``, which share ``base.html``.

Every page is self-contained: its style and its pictures are inside it.
"""

import base64
import io
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("dnnh"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """The page of a template, by its file name; all values are escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def figure_uri(figure: Figure) -> str:
    """A matplotlib figure as a ``data:`` URI with its PNG file."""
    return _data_uri(figure_bytes(figure, "png", dpi=200))


def figure_bytes(figure: Figure, suffix: str, dpi: int = 160) -> bytes:
    """The file of a matplotlib figure: png, pdf or svg.

    In memory, since matplotlib raises something else where the disk is full.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=dpi)
    return buffer.getvalue()


def image_uri(image: NDArray[np.uint8], side: int | None = None) -> str:
    """An image as a ``data:`` URI with its PNG file.

    Parameters
    ----------
    image : uint8 array of shape (height, width, 1 or 3)
    side : int, optional
        Shrink it to at most this height and width.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if side is not None:
        picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
