"""A web page to search an index of encoded images with, and the same requests as JSON.

Made with FastAPI. One Retriever and one QueryEncoder answer all requests, several at once;
Caffe encodes one image at a time, since its nets are for one thread. Memory is bounded:
limits.DECODED_AT_ONCE images are decoded at once, and images of limits.UPLOADS_BYTES wait.
Requests beyond that get 503.

The page makes no outbound requests, and its Content-Security-Policy forbids them.
"""

import asyncio
import contextlib
import dataclasses
import functools
import importlib.resources
import io
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Annotated, Any, Literal, TypeVar

import anyio
import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from dnnh import limits, packed_codes, pages
from dnnh.data import image_files
from dnnh.errors import UserError
from dnnh.nets import configs
from dnnh.retrieval import responses
from dnnh.retrieval.image_index import IndexChanged
from dnnh.retrieval.responses import FoundImage, Health, IndexedImage, Milliseconds, SearchResponse
from dnnh.retrieval.retriever import EncodedQuery, QueryEncoder, Retriever
from dnnh.retrieval.served_index import OpenedIndex, ServedIndex
from dnnh.retrieval.server_metrics import ServerMetrics

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
    "Cross-Origin-Resource-Policy": "same-origin",  # other sites may not embed images
}
STATIC = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css",
    "app.js": "text/javascript",
}

ADDRESS = "127.0.0.1:8000"  # serve.py's own
CLOSE = {"Connection": "close"}  # what else comes on the connection is not awaited
T = TypeVar("T")

# Names of this machine to itself.
LOCAL = ("localhost", "127.0.0.1", "::1")

router = APIRouter(responses=responses.problems(421, 503))


def make_app(index: ServedIndex, hosts: Collection[str] | None = None) -> FastAPI:
    """The application.

    Parameters
    ----------
    index : ServedIndex
    hosts : names that requests may ask for, or None for any
        Another site that lets its own name resolve to this machine (DNS rebinding) can then
        not read the index through a browser here.
    """
    # FastAPI's own /docs load a program from elsewhere; the page below does not.
    app = FastAPI(title="DNNH on Caffe: search", docs_url=None, redoc_url=None)
    app.state.index = index
    app.state.hosts = hosts
    app.state.uploads_bytes = 0
    app.state.metrics = ServerMetrics()
    app.state.decoding = asyncio.Semaphore(limits.DECODED_AT_ONCE)
    app.middleware("http")(_guard)
    app.add_exception_handler(UserError, _bad_request)
    app.add_exception_handler(IndexChanged, _not_now)
    app.add_exception_handler(ConnectionError, _not_now)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.include_router(router)
    return app


# --- what all requests pass ---------------------------------------------------------------


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse requests for other hosts; add the headers that keep a browser from elsewhere; count
    requests."""
    hosts, start = request.app.state.hosts, time.perf_counter()
    if hosts is None or _host(request) in hosts:
        try:
            response = await call_next(request)
        except Exception:
            _count(request, 500, start)
            raise
    else:
        message = (
            f"this page is at {', '.join(hosts)} only; start it with --host to have it elsewhere"
        )
        response = JSONResponse({"detail": message}, status_code=421)
    response.headers.update(HEADERS)
    _count(request, response.status_code, start)
    return response


def _count(request: Request, status: int, start: float) -> None:
    """Count a request, under one of few names."""
    route = request.scope.get("route")
    path, method = "other", "other"
    if isinstance(route, Route) and request.method in (route.methods or ()):
        path, method = route.path, request.method
    request.app.state.metrics.count(method, path, status, time.perf_counter() - start)


def _host(request: Request) -> str | None:
    """The name that a request asks for, without its port; None if it is not a name."""
    try:
        return urllib.parse.urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:  # an address without its last bracket
        return None


async def _bad_request(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=400)


async def _not_now(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "2"})


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


# --- parameters ---------------------------------------------------------------------------


async def _opened(request: Request) -> OpenedIndex:
    index: ServedIndex = request.app.state.index
    # Opening takes seconds, so it runs in a thread pool, not in the event loop.
    return index.opened() if index.is_current() else await run_in_threadpool(index.opened)


async def _retriever(opened: Annotated[OpenedIndex, Depends(_opened)]) -> Retriever:
    return opened.retriever


async def _encoder(opened: Annotated[OpenedIndex, Depends(_opened)]) -> QueryEncoder:
    return opened.encoder


TheRetriever = Annotated[Retriever, Depends(_retriever)]
TheEncoder = Annotated[QueryEncoder, Depends(_encoder)]
Top = Annotated[int, Query(ge=1, le=limits.HITS, description="how many images at most")]
Offset = Annotated[
    int, Query(ge=0, le=limits.HITS, description="position of the first hit, for paging")
]
Rank = Annotated[
    Literal["asymmetric", "hamming"], Query(description="how the nearest images are ordered")
]


async def _radius(
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


ROW: Any = {"description": "row of an image of the index", "ge": 0, "le": limits.ROWS}


def _check_row(row: int, retriever: Retriever) -> int:
    if not retriever.has(row):
        count, last = len(retriever.engine), retriever.last_row()
        raise HTTPException(404, f"there is no image {row}; there are {count:,}, up to {last}")
    return row


async def _row_in_path(row: Annotated[int, Path(**ROW)], retriever: TheRetriever) -> int:
    return _check_row(row, retriever)


async def _row_in_query(row: Annotated[int, Query(**ROW)], retriever: TheRetriever) -> int:
    return _check_row(row, retriever)


@contextlib.asynccontextmanager
async def _image_bytes(request: Request) -> AsyncIterator[bytes]:
    """Yield the body of a request, an image file; it counts as waiting until the end."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(
            415,
            "this is a form; send the image's bytes as the request's body: "
            "curl --data-binary @query.jpg",
        )
    chunks, count, state = [], 0, request.app.state
    try:
        with anyio.fail_after(limits.UPLOAD_SECONDS):
            async for chunk in request.stream():
                chunks.append(chunk)
                count += len(chunk)
                state.uploads_bytes += len(chunk)
                if count > limits.UPLOAD_BYTES:
                    size = limits.UPLOAD_BYTES // 1_000_000
                    raise HTTPException(
                        413, f"the image has more than {size} MB; send a smaller one"
                    )
                if state.uploads_bytes > limits.UPLOADS_BYTES:
                    raise _busy("images are being sent")
        if not count:
            raise HTTPException(400, "the request's body is empty; send an image file in it")
        data = b"".join(chunks)
        chunks.clear()  # kept once, as it is counted
        yield data
    except TimeoutError as error:
        raise HTTPException(
            408, f"the image was not there within {limits.UPLOAD_SECONDS} s", CLOSE
        ) from error
    finally:
        state.uploads_bytes -= count


async def _in_turn(request: Request, decode: Callable[[], T]) -> T:
    """What a function that decodes an image returns: few of them run at once, in threads."""
    decoding: asyncio.Semaphore = request.app.state.decoding
    try:
        with anyio.fail_after(limits.WAIT_SECONDS):
            await decoding.acquire()
    except TimeoutError as error:
        raise _busy("images wait to be decoded") from error
    try:
        return await run_in_threadpool(decode)
    finally:
        decoding.release()


def _busy(what: str) -> HTTPException:
    return HTTPException(503, f"too many {what}; try again", {"Retry-After": "5"})


# --- requests -----------------------------------------------------------------------------


BODY = {
    "requestBody": {
        "required": True,
        "description": f"an image file, at most {limits.UPLOAD_BYTES // 1_000_000} MB; not a form",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/search",
    summary="The images nearest to the image in the request's body: "
    f"curl --data-binary @query.jpg {ADDRESS}/search",
    openapi_extra=BODY,
    responses=responses.problems(400, 408, 413, 415),
)
async def search(
    request: Request,
    retriever: TheRetriever,
    encoder: TheEncoder,
    radius: Radius,
    top: Top = 20,
    offset: Offset = 0,
    rank: Rank = "asymmetric",
) -> SearchResponse:
    async with _image_bytes(request) as data:

        def encode() -> tuple[EncodedQuery, float]:
            start = time.perf_counter()
            query = encoder.encode(image_files.decode_image(data, "the request's body"))
            return query, time.perf_counter() - start

        (codes, weights), seconds = await _in_turn(request, encode)
    ranked_by = weights if rank == "asymmetric" else None
    places = slice(offset, offset + top)
    return await run_in_threadpool(_results, retriever, codes, ranked_by, places, radius, seconds)


@router.get(
    "/search",
    summary="The images nearest to an image of the index",
    responses=responses.problems(400, 404),
)
def search_by_row(
    row: Annotated[int, Depends(_row_in_query)],
    retriever: TheRetriever,
    radius: Radius,
    name: Annotated[
        str | None, Query(description="expected name of the image: 404 if the row has another one")
    ] = None,
    top: Top = 20,
    offset: Offset = 0,
    rank: Annotated[
        Literal["hamming"], Query(description="an image of the index has a binary code alone")
    ] = "hamming",
) -> SearchResponse:
    codes, net = retriever.index.codes, retriever.index.net
    assert codes is not None  # no server searches with Spark
    if name is not None and retriever.index.names(row)[0] != name:
        raise HTTPException(404, f"image {row} is no longer {name}: the index was replaced")
    if configs.has_two_towers(net):
        raise HTTPException(
            400,
            f"'{net.method}' has a sub-network of its own for queries, and the index has codes of "
            "the other one; send an image",
        )
    places = slice(offset, offset + top)
    return _results(retriever, codes[row : row + 1], None, places, radius, encode_seconds=0)


def _results(
    retriever: Retriever,
    code: NDArray[np.uint8],
    weights: NDArray[np.float64] | None,
    places: slice,
    radius: int | None,
    encode_seconds: float,
) -> SearchResponse:
    """The hits at some places of the ranking."""
    start = time.perf_counter()
    if radius is None:
        hits = retriever.nearest(code, places.stop, weights)[0]
    else:
        hits = retriever.within(
            code[0], radius, places.stop, None if weights is None else weights[0]
        )
    search_seconds = time.perf_counter() - start
    bits = packed_codes.unpack(code, retriever.index.net.bits)[0]
    return SearchResponse(
        bits="".join(str(bit) for bit in bits),
        milliseconds=Milliseconds(encode=1000 * encode_seconds, search=1000 * search_seconds),
        offset=places.start,
        hits=[FoundImage(**dataclasses.asdict(hit)) for hit in hits[places]],
    )


@router.get(
    "/image/{row}",
    summary="A small copy of an image of the index",
    response_class=Response,
    responses={**responses.problems(404), 200: {"content": {"image/png": {}}}},
)
async def image(
    request: Request, row: Annotated[int, Depends(_row_in_path)], retriever: TheRetriever
) -> Response:
    return await _in_turn(request, functools.partial(_thumbnail, row, retriever))


def _thumbnail(row: int, retriever: Retriever) -> Response:
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
    seed: Annotated[int, Query(description="random seed")] = 0,
) -> list[IndexedImage]:
    size = len(retriever.engine)
    ids = np.random.default_rng(abs(seed)).choice(size, min(size, count), replace=False)
    rows, index = np.sort(retriever.rows(ids)), retriever.index
    return [
        IndexedImage(row=row, name=name, labels=list(labels))
        for row, name, labels in zip(rows.tolist(), index.names(rows), index.labels(rows))
    ]


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Whether the server works")
async def health(retriever: TheRetriever) -> Health:
    return Health(status="ok", images=len(retriever.engine), bits=retriever.index.net.bits)


@router.get(
    "/metrics",
    summary="Counts and times of requests, for Prometheus",
    response_class=PlainTextResponse,
)
async def metrics(request: Request) -> Response:
    state = request.app.state
    try:
        retriever = (await _opened(request)).retriever
    except IndexChanged:  # it is being replaced; requests are counted all the same
        images = bits = 0
    else:
        images, bits = len(retriever.engine), retriever.index.net.bits
    text = state.metrics.text(images, bits, state.uploads_bytes)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


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
                    "summary": about["summary"].replace(ADDRESS, request.url.netloc),
                    "parameters": parameters,
                }
            )
    return pages.render("requests.html", requests=requests)


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
def page() -> Response:
    return static("index.html")


@router.get("/static/{name}", include_in_schema=False)
def static(name: str) -> Response:
    if name not in STATIC:
        raise HTTPException(404)
    content = (importlib.resources.files("dnnh.retrieval") / "static" / name).read_bytes()
    return Response(content, media_type=STATIC[name])
