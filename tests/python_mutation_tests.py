"""Break the Python package in named ways, and require its tests to fail.

  python tests/python_mutation_tests.py            all mutants
  python tests/python_mutation_tests.py splits     those with "splits" in the name

As tests/mutation_tests.py does for the layers: each mutant (tests/python_mutants.py) is one edit,
in a copy of the package that its test imports in place of the real one.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import mutation_runner
from python_mutants import PYTHON_MUTANTS, PythonMutant

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT = 300  # seconds; all tests of an unchanged package take some 40
NO_FAILURE, FAILURE = 0, 1  # exit statuses of pytest


def copy_package(folder: pathlib.Path, mutant: PythonMutant | None) -> None:
    """A repository with a copy of the package, with one mutant; all else is linked.

    Exits if the mutant does not match.
    """
    for path in ROOT.iterdir():
        if path.name not in ("python", ".git", ".pytest_cache"):
            (folder / path.name).symlink_to(path)
    shutil.copytree(
        ROOT / "python/dnnh", folder / "python/dnnh", ignore=shutil.ignore_patterns("__pycache__")
    )
    if mutant is None:
        return
    path = folder / "python/dnnh" / mutant.source
    text = path.read_text()
    matches = text.count(mutant.original)
    if matches != 1:
        sys.exit(
            f"error: {mutant.original!r} occurs {matches} times in python/dnnh/{mutant.source}, "
            "not once; update tests/python_mutants.py"
        )
    path.write_text(text.replace(mutant.original, mutant.replacement))


def status_of(tests: Iterable[str], mutant: PythonMutant | None) -> int | None:
    """The exit status of pytest with these tests; None if they do not end."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary).resolve()
        copy_package(folder, mutant)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += [f"--basetemp={folder / 'temporary'}"]
        try:
            return subprocess.run(
                [*command, *(f"tests/python/{test}" for test in tests)],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(folder / "python"),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def survives(name: str) -> bool:
    """Return whether the tests pass with a mutant: then they are inadequate."""
    mutant = PYTHON_MUTANTS[name]
    status = status_of([mutant.test], mutant)
    if status not in (NO_FAILURE, FAILURE):
        sys.exit(f"error: mutant '{name}': pytest ended with {status}, so there is no result")
    return status == NO_FAILURE


def main() -> None:
    wanted = mutation_runner.chosen(PYTHON_MUTANTS, "tests/python_mutants.py")
    status = status_of({PYTHON_MUTANTS[name].test for name in wanted}, None)
    if status != NO_FAILURE:
        sys.exit(f"error: without a mutant, pytest ended with {status}")
    sys.exit(not mutation_runner.report(wanted, survives, "Python mutation tests"))


if __name__ == "__main__":
    main()
