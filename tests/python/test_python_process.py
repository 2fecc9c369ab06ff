"""Programs in another process."""

import pytest

from dnnh import python_process


@pytest.mark.parametrize("safe_path", ["", "1"])
def test_nothing_is_imported_from_the_current_folder(tmp_path, monkeypatch, safe_path):
    (tmp_path / "colorsys.py").write_text("raise SystemExit(5)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", safe_path)
    completed = python_process.run("import colorsys; sys.exit(sys.argv[1] != 'a b')", "a b")
    assert completed.returncode == 0, completed.stderr
