"""The order of the modules that the package's docstring gives."""

import ast
import re

import dnnh
from dnnh import paths

FOLDER = paths.ROOT / "python/dnnh"


def imported(path):
    """Modules of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "dnnh":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dnnh."):
            yield node.module.split(".")[1]


def test_modules_know_only_those_before_them():
    order = [name for line in re.findall(r"^    (\w[\w, ]*?)  ", dnnh.__doc__, re.M)
             for name in line.split(", ")]
    there = {path.stem for path in FOLDER.iterdir()
             if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(order) == sorted(there - {"__init__"})
    for place, name in enumerate(order):
        inside = (FOLDER / name).rglob("*.py") if (FOLDER / name).is_dir() else [
            FOLDER / f"{name}.py"]
        for path in inside:
            assert set(imported(path)) <= set(order[:place + 1]), path
