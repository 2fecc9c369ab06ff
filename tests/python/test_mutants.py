"""The mutants of tests/ match the sources that they break."""

import sys

import pytest

from dnnh.paths import ROOT

sys.path.append(str(ROOT / "tests"))
import mutants
import python_mutants


@pytest.mark.parametrize(
    ("folder", "known"),
    [("layers", mutants.MUTANTS), ("python/dnnh", python_mutants.PYTHON_MUTANTS)],
)
def test_each_original_occurs_once(folder, known):
    for name, mutant in known.items():
        text = (ROOT / folder / mutant.source).read_text()
        assert text.count(mutant.original) == 1, name
