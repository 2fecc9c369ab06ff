"""Shared fixtures: tests write to temporary folders.

The exception: tests that run tools write scikit-learn's digits and their splits to data/.
"""

import importlib
import os

import numpy as np
import pytest

from dnnh import paths

# Tests switch these on themselves.
os.environ.pop("DNNH_BFLOAT16", None)
os.environ.pop("DNNH_ONEDNN", None)
os.environ.pop("DNNH_FUSE", None)
# Servers of the tests are on this machine, whatever proxy there is.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"

# With several processes of pytest, these files begin first, so that none of them ends long
# after the others.
LONGEST = ("test_spark.py", "test_tools.py", "test_milvus.py", "test_baselines.py")


def pytest_runtest_setup(item):
    """A test draws the same numbers alone and after others."""
    if hasattr(item.module, "RNG"):
        item.module.RNG = np.random.default_rng(1)  # constants of a module are of seed 0


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository of its own for whatever dnnh writes."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool in this process; returns what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run
