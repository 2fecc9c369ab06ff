"""What a user did wrong, said in one sentence."""

import sys


class UserError(Exception):
    """A mistake of the user's, or of a file's; its text says what to do.

    Tools print it without a traceback and exit with 1. Anything else that is
    raised is a bug of ours and keeps its traceback.
    """


def printable(text):
    """Text in which line breaks, control characters and broken ones are escaped.

    Names of files may have all of these, and a terminal obeys some.
    """
    return "".join(c if c.isprintable() else c.encode(
        "unicode_escape", "surrogatepass").decode() for c in text)


def run(main):
    """Run a tool's ``main()``; turn a UserError into a sentence and exit 1.

    So too what the operating system refuses: its errors name the file and say why
    (no space, no permission, a folder where a file should be).
    """
    try:
        main()
    except (UserError, OSError) as error:
        # What libraries say may have several lines.
        sys.exit("error: " + printable(" ".join(str(error).split())))
    except KeyboardInterrupt:
        sys.exit("stopped")
