"""A web page to search an index of encoded images with, and the same requests as JSON.

Made with FastAPI. One Retriever and one QueryEncoder answer all requests, several at once;
images are encoded one at a time, since Caffe's nets are for one thread.

The page makes no outbound requests, and its Content-Security-Policy forbids them.
"""

import dataclasses
import importlib.resources
import io
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from PIL import Image

from dnnh import limits, packed_codes, pages
from dnnh.data import image_files
from dnnh.errors import UserError
from dnnh.retrieval.retriever import QueryEncoder, Retriever

THUMBNAIL = 192  # pixels, the larger side of an image that is shown
PIXELATED = THUMBNAIL // 3  # narrower images are enlarged, pixel by pixel

# Nothing from elsewhere, and no scripts but ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STATIC = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css",
    "app.js": "text/javascript",
}

# Names of this machine to itself.
LOCAL = ("localhost", "127.0.0.1", "::1")

router = APIRouter()


def make_app(
    retriever: Retriever, encoder: QueryEncoder, hosts: Collection[str] | None = None
) -> FastAPI:
    """The application.

    Parameters
    ----------
    retriever : Retriever
    encoder : QueryEncoder
    hosts : names that requests may ask for, or None for any
        Another site that lets its own name resolve to this machine (DNS rebinding) can then
        not read the index through a browser here.
    """
    # FastAPI's own /docs load a program from elsewhere; the page below does not.
    app = FastAPI(title="DNNH on Caffe: search", docs_url=None, redoc_url=None)
    app.state.retriever = retriever
    app.state.encoder = encoder
    app.state.hosts = hosts
    app.middleware("http")(_guard)
    app.add_exception_handler(UserError, _bad_request)
    app.add_exception_handler(ConnectionError, _without_engine)
    app.include_router(router)
    return app


# --- what all requests pass ---------------------------------------------------------------


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse requests for other hosts; add the headers that keep a browser from elsewhere."""
    hosts = request.app.state.hosts
    if hosts is None or _host(request) in hosts:
        response = await call_next(request)
    else:
        message = (
            f"this page is at {', '.join(hosts)} only; start it with --host to have it elsewhere"
        )
        response = JSONResponse({"detail": message}, status_code=421)
    response.headers.update(HEADERS)
    return response


def _host(request: Request) -> str | None:
    """The name that a request asks for, without its port; None if it is not a name."""
    try:
        return urllib.parse.urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:  # an address without its last bracket
        return None


async def _bad_request(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=400)


async def _without_engine(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503)


# --- parameters ---------------------------------------------------------------------------


def _retriever(request: Request) -> Retriever:
    return request.app.state.retriever


def _encoder(request: Request) -> QueryEncoder:
    return request.app.state.encoder


TheRetriever = Annotated[Retriever, Depends(_retriever)]
TheEncoder = Annotated[QueryEncoder, Depends(_encoder)]
Top = Annotated[int, Query(ge=1, le=limits.HITS, description="how many images at most")]


def _radius(
    retriever: TheRetriever,
    radius: Annotated[
        int | None, Query(ge=0, description="only images within this Hamming distance")
    ] = None,
) -> int | None:
    """The radius, checked; its upper bound is known only with the index."""
    bits = retriever.index.net.bits
    if radius is not None and radius > bits:
        raise RequestValidationError(
            [
                {
                    "type": "less_than_equal",
                    "loc": ("query", "radius"),
                    "msg": f"Input should be less than or equal to {bits}",
                    "input": str(radius),
                    "ctx": {"le": bits},
                }
            ]
        )
    return radius


Radius = Annotated[int | None, Depends(_radius)]


def _row(
    row: Annotated[int, Path(description="position in the index, from 0 on")],
    retriever: TheRetriever,
) -> int:
    """A row of the index, checked."""
    count = len(retriever.engine)
    if not 0 <= row < count:
        raise HTTPException(404, f"there is no image {row}; there are {count:,}, from 0 on")
    return row


Row = Annotated[int, Depends(_row)]


async def _image_bytes(request: Request) -> bytes:
    """The body of a request, an image file."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(
            415,
            "this is a form; send the image's bytes as the request's body: "
            "curl --data-binary @query.jpg",
        )
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limits.UPLOAD_BYTES:
            raise HTTPException(
                413,
                f"the image has more than {limits.UPLOAD_BYTES // 1_000_000} MB; send a smaller one",
            )
    if not data:
        raise HTTPException(400, "the request's body is empty; send an image file in it")
    return bytes(data)


# --- requests -----------------------------------------------------------------------------


@router.post(
    "/search",
    summary="The images nearest to the image in the request's body: "
    "curl --data-binary @query.jpg 127.0.0.1:8000/search",
)
async def search(
    request: Request, retriever: TheRetriever, encoder: TheEncoder, radius: Radius, top: Top = 20
) -> dict[str, Any]:
    data = await _image_bytes(request)

    def encode_and_search() -> dict[str, Any]:
        start = time.perf_counter()
        code = encoder.encode(image_files.decode_image(data, "the request's body"))
        return _hits(retriever, code, top, radius, encode_seconds=time.perf_counter() - start)

    return await run_in_threadpool(encode_and_search)


@router.get("/like/{row}", summary="The images nearest to an image of the index")
def like(row: Row, retriever: TheRetriever, radius: Radius, top: Top = 20) -> dict[str, Any]:
    codes = retriever.index.codes
    assert codes is not None  # no server searches with Spark
    return _hits(retriever, codes[row : row + 1], top, radius, encode_seconds=0)


def _hits(
    retriever: Retriever,
    code: NDArray[np.uint8],
    top: int,
    radius: int | None,
    encode_seconds: float,
) -> dict[str, Any]:
    start = time.perf_counter()
    if radius is None:
        hits = retriever.nearest(code, top)[0]
    else:
        hits = retriever.within(code[0], radius, top)
    search_seconds = time.perf_counter() - start
    bits = packed_codes.unpack(code, retriever.index.net.bits)[0]
    return {
        "bits": "".join(str(bit) for bit in bits),
        "milliseconds": {"encode": 1000 * encode_seconds, "search": 1000 * search_seconds},
        "hits": [dataclasses.asdict(hit) for hit in hits],
    }


@router.get(
    "/image/{row}",
    summary="A small copy of an image of the index",
    response_class=Response,
)
def image(row: Row, retriever: TheRetriever) -> Response:
    name = retriever.index.names(row)[0]
    try:
        thumbnail = Image.fromarray(retriever.image(name))
    except UserError as error:
        raise HTTPException(404, f"{name} is no longer there, or no image") from error
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    if thumbnail.width < PIXELATED:
        factor = max(1, THUMBNAIL // max(thumbnail.size))
        size = factor * thumbnail.width, factor * thumbnail.height
        thumbnail = thumbnail.resize(size, Image.Resampling.NEAREST)
    file = io.BytesIO()
    thumbnail.save(file, "PNG")
    # The next index that is served here has other images under these numbers.
    headers = {"Cache-Control": "no-store"}
    return Response(file.getvalue(), media_type="image/png", headers=headers)


@router.get("/random", summary="Random images of the index")
def random_images(
    retriever: TheRetriever,
    count: Annotated[int, Query(ge=1, le=limits.HITS, description="number of images")] = 24,
    seed: Annotated[int, Query(description="of the draw")] = 0,
) -> list[dict[str, Any]]:
    size = len(retriever.engine)
    rows = np.random.default_rng(abs(seed)).choice(size, min(size, count), replace=False)
    index = retriever.index
    return [
        {"row": row, "name": index.names(row)[0], "labels": index.labels(row)[0]}
        for row in sorted(rows.tolist())
    ]


@router.get("/health", summary="Whether the server works")
def health(retriever: TheRetriever) -> dict[str, Any]:
    return {
        "status": "ok",
        "images": len(retriever.engine),
        "bits": retriever.index.net.bits,
    }


@router.get("/docs", summary="This page", response_class=HTMLResponse)
def docs(request: Request) -> str:
    requests = []
    for path, methods in request.app.openapi()["paths"].items():
        for method, about in methods.items():
            parameters = []
            for parameter in about.get("parameters", ()):
                default = parameter["schema"].get("default")
                parameters.append(
                    f"{parameter['name']}: {parameter['description']}"
                    + ("" if default is None else f" (default: {default})")
                )
            requests.append(
                {
                    "line": f"{method.upper()} {path}",
                    "summary": about["summary"],
                    "parameters": parameters,
                }
            )
    return pages.render("requests.html", requests=requests)


@router.get("/", include_in_schema=False)
def page() -> Response:
    return static("index.html")


@router.get("/static/{name}", include_in_schema=False)
def static(name: str) -> Response:
    if name not in STATIC:
        raise HTTPException(404)
    content = importlib.resources.files("dnnh.retrieval").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name])
