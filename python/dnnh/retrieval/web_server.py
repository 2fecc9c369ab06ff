"""The web server of the search page: uvicorn, within limits of memory and time.

Slow clients are cut off, requests at a time are bounded, and Ctrl-C ends it whatever is open.
"""

import asyncio
import ctypes
import logging
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from dnnh import limits
from dnnh.errors import UserError

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of glibc's mallopt


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises
    ------
    UserError
        If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, TypeError, UnicodeError) as error:
        raise UserError(
            f"'{host}', port {port}, cannot be listened on "
            f"({getattr(error, 'strerror', None) or error}); take another --port or --host"
        ) from error
    # Connections inherit it; without it each answer waits 40 ms for the client's confirmation.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server whose ``run(sockets=[...])`` answers requests until Ctrl-C."""
    _return_large_memory()
    config = uvicorn.Config(
        app,
        http=TimeoutProtocol,
        log_level="error",
        limit_concurrency=limits.CONNECTIONS + 1,
        timeout_graceful_shutdown=limits.SHUTDOWN_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_error)
    return uvicorn.Server(config)


def _is_error(record: logging.LogRecord) -> bool:
    """Whether it is to be logged: not that Ctrl-C ends requests that are open."""
    error = record.exc_info[0] if record.exc_info else None
    is_cancelled = error is not None and issubclass(error, asyncio.CancelledError)
    return not is_cancelled and not record.getMessage().startswith("Cancel ")


class TimeoutProtocol(H11Protocol):
    """A connection that ends where a request takes too long, from its first byte to its answer.

    uvicorn itself waits for ever for the rest of a request, and for a client to read.
    """

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._restart_clock()
        if len(self.connections) > limits.CONNECTIONS:  # uvicorn itself accepts any number
            transport.abort()

    def on_response_complete(self) -> None:
        self._restart_clock()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _restart_clock(self) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(limits.REQUEST_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()


def _return_large_memory() -> None:
    """Let memory of large images go back to the system at once, whichever thread had it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_ARENA_MAX, 2)
