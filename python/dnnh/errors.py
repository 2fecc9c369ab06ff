"""Mistakes of a user, reported in one sentence."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake of the user, or a file that cannot be used; the message says what to do.

    Tools print it without a traceback and exit with 1. Anything else that is
    raised is a bug of ours and keeps its traceback.
    """


def printable(text: str) -> str:
    """Text in which line breaks, control characters and broken ones are escaped.

    Names of files may have all of these, and a terminal interprets some.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def run(main: Callable[[], None]) -> None:
    """Run a tool's ``main()``; print a UserError as one sentence and exit with 1.

    The same for errors of the operating system: they name the file and the reason
    (no space, no permission, a folder where a file should be).
    """
    try:
        main()
    except (UserError, OSError) as error:
        # Messages of libraries may have several lines.
        sys.exit("error: " + printable(" ".join(str(error).split())))
    except KeyboardInterrupt:
        sys.exit("stopped")
