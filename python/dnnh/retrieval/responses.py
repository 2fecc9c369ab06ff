"""What the search server answers, as its OpenAPI document describes it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

_HIT = {"row": 7, "name": "2024/cat.jpg", "labels": ["2024"], "distance": 3}
_IMAGE = {key: value for key, value in _HIT.items() if key != "distance"}
_RESULTS = {
    "bits": "011010001101",
    "milliseconds": {"encode": 8.1, "search": 0.4},
    "offset": 0,
    "hits": [_HIT],
}


def _example(example: dict[str, Any]) -> Any:
    return {"json_schema_extra": {"examples": [example]}}


class IndexedImage(BaseModel):
    """An image of the index."""

    model_config = _example(_IMAGE)

    row: Annotated[int, Field(description="by which requests name the image")]
    name: Annotated[str, Field(description="path in the source of the index")]
    labels: list[str]


class FoundImage(IndexedImage):
    """A hit."""

    model_config = _example(_HIT)

    distance: Annotated[int, Field(description="Hamming distance of its code to the query's")]


class Milliseconds(BaseModel):
    """How long an answer took."""

    encode: Annotated[
        float, Field(description="reading and encoding the image; 0 if there is none")
    ]
    search: float


class SearchResponse(BaseModel):
    """The images nearest to a query, the nearest first."""

    model_config = _example(_RESULTS)

    bits: Annotated[str, Field(description="the query's code, bit by bit")]
    milliseconds: Milliseconds
    offset: Annotated[int, Field(description="position of the first hit among all, from 0 on")]
    hits: list[FoundImage]


class Health(BaseModel):
    """What is served."""

    model_config = _example({"status": "ok", "images": 10_000, "bits": 48})

    status: str
    images: int
    bits: Annotated[int, Field(description="length of the codes")]


class Problem(BaseModel):
    """Why there is no result."""

    model_config = _example({"detail": "the request's body is not a readable image"})

    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "the image or the request cannot be read",
        404: "there is no such image",
        408: "the image did not arrive in time",
        413: "the image has too many bytes",
        415: "the body is a form, not an image",
        421: "the request is for another host",
        503: "busy, or the index is being replaced; try again",
    }.items()
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of PROBLEMS that a request can have."""
    return {status: PROBLEMS[status] for status in statuses}
