"""Every command that writes, killed at some moments and on a full disk: see tests/faults/run.py."""

import importlib.util
import subprocess
import sys

import pytest

from dnnh.paths import ROOT

_spec = importlib.util.spec_from_file_location("faults_run", ROOT / "tests/faults/run.py")
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)


@pytest.mark.parametrize("command", faults.CASES)
def test_nothing_is_lost_or_half_written(command):
    completed = subprocess.run(
        [sys.executable, ROOT / "tests/faults/run.py", "--only", command, "--moments", "5"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    assert completed.returncode == 0, completed.stdout
    assert f"{command}: 0 problems" in completed.stdout
