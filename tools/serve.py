"""Serve a web page to search an index of encoded images with, on this machine.

  python tools/serve.py --index photos.index.h5          then open http://127.0.0.1:8000
  python tools/serve.py --index photos.index.h5 --port 9000 --host 0.0.0.0

--index is what tools/encode.py wrote. Only this machine can reach the page unless --host says
otherwise; whoever can reach it can see the index. The page makes no outbound requests. Ctrl-C
ends it. Needs the extra `serve`: .venv/bin/pip install -e '.[serve]'
"""

import argparse
import contextlib
import socket

from dnnh import cli, errors
from dnnh.errors import UserError
from dnnh.retrieval import retriever
from dnnh.retrieval.retriever import QueryEncoder

# Spark is for many queries at once, not for single ones that must be fast.
ENGINES = [name for name in retriever.ENGINES if name != "spark"]


def main() -> None:
    arguments = parse_arguments()
    try:  # before the index is read
        import uvicorn

        from dnnh.retrieval import server
    except ImportError as error:
        raise UserError(
            f"the page needs FastAPI and uvicorn ({error}); install them with "
            "'.venv/bin/pip install -e .[serve]'"
        ) from error
    # The port is taken before the index is read: either may take long, or fail.
    with (
        listen(arguments.host, arguments.port) as listener,
        retriever.open_index(arguments.index, arguments.engine, arguments.address) as opened,
    ):
        app = server.make_app(
            opened,
            QueryEncoder(opened.index, arguments.model),
            server.LOCAL if arguments.host in server.LOCAL else None,
        )
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_index_options(parser, ENGINES)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: 8000)")
    arguments = parser.parse_args()
    if not 0 <= arguments.port < 65536:
        raise UserError(f"--port {arguments.port}: ports are 0 to 65535")
    return arguments


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"'{host}', port {port}, cannot be listened on "
            f"({error.strerror or error}); take another --port or --host"
        ) from error


if __name__ == "__main__":
    errors.run(main)
