"""Every command that writes, killed at some moments and on a full disk: see tests/faults/run.py."""

import subprocess
import sys

import pytest

from dnnh.paths import ROOT

COMMANDS = (
    *("get_data", "make_triplets", "encode", "update", "remove", "remove_parquet"),
    *("evaluate", "search", "caffe", "caffe_hdf5"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_lost_or_half_written(command):
    completed = subprocess.run(
        [sys.executable, ROOT / "tests/faults/run.py", "--only", command, "--moments", "5"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    assert completed.returncode == 0, completed.stdout
    assert f"{command}: 0 problems" in completed.stdout
