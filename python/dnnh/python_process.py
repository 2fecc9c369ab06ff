"""Reads that could end the process that does them, in another process."""

import subprocess
import sys

from dnnh.files import StrPath

# Nothing is imported from the current folder. (Python 3.11 has -P for that.)
_GUARD = "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "


def run(program: str, path: StrPath) -> subprocess.CompletedProcess[str]:
    """Run a Python program, whose ``sys.argv[1]`` is the path, and wait for it."""
    command = [sys.executable, "-c", _GUARD + program, str(path)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True)
