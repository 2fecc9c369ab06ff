"""A page to search a collection with, on this machine.

  python tools/serve.py --codes photos.codes.h5          then open http://127.0.0.1:8000
  python tools/serve.py --codes photos.codes.h5 --port 9000 --host 0.0.0.0

--codes is what tools/encode.py wrote. Only this machine can reach it unless --host says
otherwise; whoever can reach it can see the collection. Ctrl-C ends it. Needs the extra
`serve`: .venv/bin/pip install -e '.[serve]'
"""

import argparse
import contextlib
import pathlib
import socket

from dnnh import errors, finder, server
from dnnh.errors import UserError

# Spark is for many queries at once, not for one that somebody waits for.
ENGINES = [name for name in finder.ENGINES if name != "spark"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=pathlib.Path, required=True,
                        help="the collection that is searched")
    parser.add_argument("--model", type=pathlib.Path,
                        help="the weights that the collection was coded with, if they are "
                        "neither in snapshots/ nor in models/")
    parser.add_argument("--engine", default="numpy", choices=ENGINES,
                        help="what searches (default: numpy, which is exact and needs nothing "
                        "more)")
    parser.add_argument("--address", help="of Milvus: http://host:19530, or a file, codes.db")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen at (default 127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="(default 8000)")
    arguments = parser.parse_args()

    if not 0 <= arguments.port < 65536:
        raise UserError(f"--port {arguments.port}: ports are 0 to 65535")
    try:
        import fastapi   # noqa: F401: asked for here, before the collection is read
        import uvicorn
    except ImportError as error:
        raise UserError(f"the page needs FastAPI and uvicorn ({error}); install them with "
                        "'.venv/bin/pip install -e .[serve]'") from error
    # The port is taken before the collection is read: either may be long, or fail.
    with listening(arguments.host, arguments.port) as listener, finder.opened(
            arguments.codes, arguments.engine, arguments.address) as opened:
        app = server.make_app(finder.Finder(*opened),
                              finder.Coder(opened[0], arguments.model),
                              server.LOCAL if arguments.host in server.LOCAL else None)
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):       # the usual end
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def listening(host, port):
    """A socket that listens there."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"'{host}', port {port}, cannot be listened on "
                        f"({error.strerror or error}); take another --port or --host"
                        ) from error


if __name__ == "__main__":
    errors.run(main)
