"""Serve a web page to search an index of encoded images with, on this machine.

  python tools/serve.py --index photos.index.h5          then open http://127.0.0.1:8000
  python tools/serve.py --index photos.index.h5 --port 9000 --host 0.0.0.0

--index is what tools/encode.py wrote. Only this machine can reach the page unless --host says
otherwise; whoever can reach it can see the index. The page makes no outbound requests. An index
that is replaced meanwhile is served from then on. Ctrl-C ends it. Needs the extra `serve`: .venv/bin/pip install -e '.[serve]'
"""

import argparse
import contextlib
import functools
from collections.abc import Iterator

from dnnh import cli, errors
from dnnh.errors import UserError
from dnnh.retrieval import retriever
from dnnh.retrieval.retriever import QueryEncoder
from dnnh.retrieval.served_index import OpenedIndex, ServedIndex

# Spark is for many queries at once, not for single ones that must be fast.
ENGINES = [name for name in retriever.ENGINES if name != "spark"]


def main() -> None:
    arguments = parse_arguments()
    try:  # before the index is read
        from dnnh.retrieval import server, web_server
    except ImportError as error:
        raise UserError(
            f"the page needs FastAPI and uvicorn ({error}); install them with "
            "'.venv/bin/pip install -e .[serve]'"
        ) from error
    # The port is taken before the index is read: either may take long, or fail.
    with (
        web_server.listen(arguments.host, arguments.port) as listener,
        ServedIndex(arguments.index, functools.partial(open_index, arguments)) as index,
    ):
        app = server.make_app(index, server.LOCAL if arguments.host in server.LOCAL else None)
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            web_server.make_server(app).run(sockets=[listener])


@contextlib.contextmanager
def open_index(arguments: argparse.Namespace) -> Iterator[OpenedIndex]:
    """Yield what is at --index now."""
    with retriever.open_index(arguments.index, arguments.engine, arguments.address) as opened:
        yield OpenedIndex(
            opened, QueryEncoder(opened.index, arguments.model, arguments.runtime, arguments.gpu)
        )


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_index_options(parser, ENGINES)
    cli.add_gpu_option(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: 8000)")
    arguments = parser.parse_args()
    if not arguments.host:
        raise UserError("--host is empty; leave it out, or name an address")
    if not 0 <= arguments.port < 65536:
        raise UserError(f"--port {arguments.port}: ports are 0 to 65535")
    return arguments


if __name__ == "__main__":
    errors.run(main)
