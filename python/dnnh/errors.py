"""User errors, reported as one line without a traceback."""

import io
import os
import re
import select
import sys
from collections.abc import Callable

SHOWN_LETTERS = 150  # of a word in a message, at its start
COMMAND = "dnnh"  # dnnh.console


class UserError(Exception):
    """A mistake of the user, or a file that cannot be used; the message says what to do.

    Tools print it without a traceback and exit with 1. Anything else that is
    raised is a bug of ours and keeps its traceback.

    As text it is one printable line, whatever the names and the messages of libraries in it
    have.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """Text in which line breaks, control characters and broken ones are escaped.

    Names of files may have all of these, and a terminal interprets some.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def as_called(text: str) -> str:
    """Text in which tools have the names that they are called by: ``dnnh encode`` for
    ``python tools/encode.py`` where that command runs."""
    if not sys.argv[0].startswith(f"{COMMAND} "):
        return text
    return re.sub(r"(python )?\btools/(\w+)\.py", rf"{COMMAND} \2", text)


def run(main: Callable[[], None]) -> None:
    """Run a tool's ``main()``; print a UserError as one sentence and exit with 1.

    The same for errors of the operating system: they name the file and the reason
    (no space, no permission, a folder where a file should be). Letters that the terminal's
    encoding lacks are escaped. A closed pipe (``| head``) ends the tool quietly with 141, the
    exit status of a program that SIGPIPE ended.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _output_is_closed():
            sys.exit(f"error: {error}")
        sys.exit(141)
    except (UserError, OSError) as error:
        # Messages of libraries may have several lines.
        sys.exit("error: " + " ".join(map(_shortened, printable(as_called(str(error))).split())))
    except KeyboardInterrupt:
        sys.exit("stopped")


def _shortened(word: str) -> str:
    """A word, which may be a path of thousands of letters, without its middle."""
    return word if len(word) <= 2 * SHOWN_LETTERS else f"{word[:SHOWN_LETTERS]}...{word[-40:]}"


def _output_is_closed() -> bool:
    """Whether nobody reads the standard output; then what is left of it is dropped."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # not a file, in tests
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    is_closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes once more at exit
    return is_closed
