"""Shared fixtures: tests write to temporary folders.

The exception: tests that run tools write scikit-learn's digits and their splits to data/.
"""

import os

import pytest

from dnnh import paths

# Tests switch these on themselves.
os.environ.pop("DNNH_BFLOAT16", None)
os.environ.pop("DNNH_ONEDNN", None)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository of its own for whatever dnnh writes."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    (tmp_path / "data").mkdir()
    return tmp_path
