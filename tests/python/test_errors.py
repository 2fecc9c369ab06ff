"""What a tool's ``main()`` runs in: terminals and pipes."""

import os
import subprocess
import sys

import pytest

from dnnh import errors


def run(program, encoding="utf-8", command="{python} -c '{program}'"):
    line = command.format(python=sys.executable, program=program)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )


@pytest.mark.parametrize(
    "encoding, expected",
    [
        ("utf-8", "é ł\n".encode()),
        ("latin-1", b"\xe9 \\u0142\n"),
        ("ascii", b"\\xe9 \\u0142\n"),
    ],
)
def test_letters_that_a_terminal_lacks_are_escaped(encoding, expected):
    program = 'from dnnh import errors; errors.run(lambda: print("\\u00e9 \\u0142"))'
    done = run(program, encoding)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")


@pytest.mark.parametrize("lines", [2, 1_000_000])  # less and more than a buffer
def test_a_closed_pipe_is_quiet(lines):
    program = (
        f"from dnnh import errors; errors.run(lambda: [print(i) for i in range({lines})] and None)"
    )
    done = run(program, command="{python} -c '{program}' | head -c 0")
    assert done.returncode in (0, 141) and done.stderr == b""


def test_another_broken_pipe_is_an_error(capsys):
    def main():
        raise BrokenPipeError(32, "Broken pipe", "socket")

    with pytest.raises(SystemExit, match="error: .*Broken pipe: 'socket'"):
        errors.run(main)


def test_a_name_of_thousands_of_letters_is_shortened(capsys):
    def main():
        raise errors.UserError(f"{'a' * 4000}/{'b' * 4000} cannot be read")

    with pytest.raises(SystemExit) as ended:
        errors.run(main)
    message = str(ended.value)
    assert message.startswith(f"error: {'a' * 150}...{'b' * 40} cannot be read")


def test_messages_are_one_printable_line():
    """Whatever names and libraries' messages bring along."""
    error = errors.UserError("a\nb.png is damaged (\x1b[31mline 1\r\nline 2\ud800)")
    assert str(error) == r"a\nb.png is damaged (\x1b[31mline 1\r\nline 2\ud800)"
