"""Pages of images that were found: the hits of a query, and groups of duplicates."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import limits, pages
from dnnh.errors import UserError
from dnnh.retrieval.retriever import Hit, Retriever

THUMBNAIL = 160  # pixels, the larger side of an image on a page


def hits_page(
    opened: Retriever, name: str, image: NDArray[np.uint8], hits: list[Hit], asymmetric: bool
) -> str:
    """One self-contained HTML page: a query, and its hits, ordered by asymmetric distance or not."""
    return pages.render(
        "search_results.html",
        name=name,
        count=len(opened.engine),
        source=opened.index.source,
        bits=opened.index.net.bits,
        query=_thumbnail(image),
        results=[_shown(opened, hit) for hit in hits],
        asymmetric=asymmetric,
    )


def groups_page(opened: Retriever, groups: Sequence[Sequence[Hit]], found: int, radius: int) -> str:
    """One self-contained HTML page of the largest of ``found`` groups of duplicates."""
    return pages.render(
        "duplicates.html",
        count=len(opened.engine),
        source=opened.index.source,
        bits=opened.index.net.bits,
        radius=radius,
        found=found,
        groups=[
            {
                "count": len(group),
                "images": [_shown(opened, hit) for hit in group[: limits.GROUP_IMAGES]],
            }
            for group in groups
        ],
    )


def _shown(opened: Retriever, hit: Hit) -> dict[str, Any]:
    """A hit as the templates show it: with its image, or why there is none."""
    shown = dataclasses.asdict(hit)
    labels = ", ".join(hit.labels)
    shown |= {"labels": labels, "alt": f"{labels}, {hit.name}" if labels else hit.name, "uri": None}
    try:
        shown |= _thumbnail(opened.image(hit.name))
    except UserError as error:
        shown["problem"] = str(error)
    return shown


def _thumbnail(image: NDArray[np.uint8]) -> dict[str, Any]:
    """An image for a page, and whether it is smaller than it is shown."""
    return {
        "uri": pages.image_uri(image, THUMBNAIL),
        "small": max(image.shape[:2]) < THUMBNAIL // 2,
    }
