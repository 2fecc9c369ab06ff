"""A page to search a collection with, and the same as JSON.

Made with FastAPI. One Coder and one Finder answer all requests, several at once; images are
coded one at a time, since Caffe's nets are for one thread.
"""

import dataclasses
import html
import importlib.resources
import io
import time
import urllib.parse

import numpy as np
from PIL import Image

from dnnh import ranking
from dnnh.datasets import trees
from dnnh.errors import UserError

MAX_UPLOAD = 20_000_000    # bytes of an image that is sent here
MAX_HITS = 500
THUMBNAIL = 192            # pixels, the larger side of an image that is shown

# Nothing from elsewhere, and no code but ours.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; "
          "img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; "
          "frame-ancestors 'none'; base-uri 'none'")


# Names of this machine to itself.
LOCAL = ("localhost", "127.0.0.1", "::1")


def _host(request):
    """The name that a request asks for, without its port; None if it is no name."""
    try:
        return urllib.parse.urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:                         # an address without its last bracket
        return None


def make_app(finder, coder, hosts=None):
    """The application.

    Parameters
    ----------
    finder : dnnh.finder.Finder
    coder : dnnh.finder.Coder
    hosts : names that requests may ask for, or None for any
        A page of somebody else's that has its own name lead to this machine can then
        not read the collection through a browser here.

    Returns
    -------
    fastapi.FastAPI
    """
    from fastapi import FastAPI, HTTPException, Query, Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import HTMLResponse, JSONResponse

    # FastAPI's own /docs load a program from elsewhere; ours below does not.
    app = FastAPI(title="DNNH on Caffe: search", docs_url=None, redoc_url=None)
    count = len(finder.index)
    Top = Query(20, ge=1, le=MAX_HITS, description="how many images at most")
    Radius = Query(None, ge=0, le=finder.collection.bits,
                   description="only images within this Hamming distance")

    @app.middleware("http")
    async def guarded(request, call_next):
        response = (await call_next(request) if hosts is None or _host(request) in hosts else
                    JSONResponse({"detail": f"this page is at {', '.join(hosts)} only; start "
                                  "it with --host to have it elsewhere"}, status_code=421))
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.exception_handler(UserError)
    async def refused(request, error):
        return JSONResponse({"detail": str(error)}, status_code=400)

    @app.exception_handler(ConnectionError)
    async def without_engine(request, error):
        return JSONResponse({"detail": str(error)}, status_code=503)

    def answer(code, top, radius, milliseconds):
        start = time.perf_counter()
        hits = (finder.nearest(code, top)[0] if radius is None
                else finder.within(code[0], radius, top))
        milliseconds["search"] = 1000 * (time.perf_counter() - start)
        bits = ranking.unpack(code, finder.collection.bits)[0]
        return {"bits": "".join(map(str, bits)), "milliseconds": milliseconds,
                "hits": [dataclasses.asdict(hit) for hit in hits]}

    def checked(row):
        if not 0 <= row < count:
            raise HTTPException(404, f"there is no image {row}; there are {count:,}, from 0 on")
        return row

    @app.post("/search", summary="The images most like the one in the request's body: "
              "curl --data-binary @query.jpg")
    async def search(request: Request, top: int = Top, radius: int = Radius):
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(415, "this is a form; send the image's bytes as the request's "
                                "body: curl --data-binary @query.jpg")
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_UPLOAD:
                raise HTTPException(413, "the image has more than "
                                    f"{MAX_UPLOAD // 1_000_000} MB; send a smaller one")
        if not data:
            raise HTTPException(400, "the request's body is empty; send an image file in it")

        def work():
            start = time.perf_counter()
            code = coder.code(trees.decode_image(bytes(data), "what was sent"))
            return answer(code, top, radius, {"code": 1000 * (time.perf_counter() - start)})
        return await run_in_threadpool(work)

    @app.get("/like/{row}", summary="The images most like one of the collection")
    def like(row: int, top: int = Top, radius: int = Radius):
        return answer(finder.collection.codes[checked(row)][None], top, radius, {"code": 0.0})

    @app.get("/image/{row}", summary="A small copy of an image of the collection",
             response_class=Response)
    def image(row: int):
        name = finder.collection.names(checked(row))[0]
        try:
            small = Image.fromarray(finder.image(name))
        except UserError as error:
            raise HTTPException(404, f"{name} is no longer there, or no image") from error
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        if small.width < THUMBNAIL // 3:                  # tiny ones, pixel by pixel
            factor = THUMBNAIL // max(small.size) or 1
            small = small.resize((factor * small.width, factor * small.height),
                                 Image.Resampling.NEAREST)
        file = io.BytesIO()
        small.save(file, "PNG")
        return Response(file.getvalue(), media_type="image/png",
                        # The next collection that is served here has other images.
                        headers={"Cache-Control": "no-store"})

    @app.get("/some", summary="Some images of the collection, drawn at random")
    def some(count_: int = Query(24, ge=1, le=MAX_HITS, alias="count"), seed: int = 0):
        rows = np.random.default_rng(abs(seed)).choice(
            count, min(count, count_), replace=False).tolist()
        return [{"row": row, "name": finder.collection.names(row)[0],
                 "labels": finder.collection.labels(row)[0]} for row in sorted(rows)]

    @app.get("/health", summary="Whether it works")
    def health():
        return {"status": "ok", "images": count, "bits": finder.collection.bits}

    @app.get("/docs", summary="This page", response_class=HTMLResponse)
    def docs():
        rows = "".join(
            f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
            f"<td>{html.escape(about['summary'])}</td><td>"
            + "<br>".join(html.escape(f"{p['name']}: {p.get('description', p['in'])}")
                          for p in about.get("parameters", ())) + "</td></tr>"
            for path, methods in app.openapi()["paths"].items()
            for method, about in methods.items())
        return ('<!doctype html><html lang="en"><meta charset="utf-8"><title>Requests</title>'
                '<link rel="stylesheet" href="/static/style.css"><link rel="icon" href="data:,">'
                "<main><h1>Requests</h1>"
                f"<table class=\"docs\">{rows}</table><p><a href=\"/openapi.json\">As OpenAPI"
                "</a></p></main></html>")

    def static(name, kind):
        content = importlib.resources.files("dnnh").joinpath("static", name).read_bytes()

        def give():
            return Response(content, media_type=kind)
        return give

    app.get("/", include_in_schema=False)(static("index.html", "text/html; charset=utf-8"))
    for name, kind in (("style.css", "text/css"), ("app.js", "text/javascript")):
        app.get(f"/static/{name}", include_in_schema=False)(static(name, kind))
    return app
