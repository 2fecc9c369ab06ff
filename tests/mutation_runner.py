"""What both mutation tests share: which mutants are tried, and which survive."""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm


def chosen(names: Iterable[str], file: str) -> list[str]:
    """The names that have all words of the command line; exits if there is none."""
    wanted = [name for name in names if all(word in name for word in sys.argv[1:])]
    if not wanted:
        sys.exit(f"error: no name of a mutant in {file} has all of {' '.join(sys.argv[1:])}")
    return wanted


def pool() -> ThreadPoolExecutor:
    """Compilers and tests are processes of their own, one per processor."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def report(wanted: list[str], survives: Callable[[str], bool], description: str) -> bool:
    """Try mutants and print those that survive; whether all are caught."""
    with pool() as threads:
        outcomes = tqdm(
            zip(wanted, threads.map(survives, wanted), strict=True),
            total=len(wanted),
            unit="mutant",
            desc=description,
        )
        surviving = [name for name, survived in outcomes if survived]
    for name in surviving:
        print(f"SURVIVED: {name}")
    print(f"{len(wanted) - len(surviving)} passed, {len(surviving)} failed")
    return not surviving
