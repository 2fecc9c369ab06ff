"""The order of the package's parts that its docstring gives."""

import ast
import re

import pytest

import dnnh
import dnnh.data
import dnnh.nets
from dnnh import paths

FOLDER = paths.ROOT / "python/dnnh"


def imported_parts(path):
    """Parts of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "dnnh":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dnnh."):
            yield node.module.split(".")[1]


def test_parts_know_only_those_before_them():
    lines = re.findall(r"^    (\w[\w, ]*?)  ", dnnh.__doc__, re.MULTILINE)
    order = [name for line in lines for name in line.split(", ")]
    parts = {
        path.stem
        for path in FOLDER.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert sorted(order) == sorted(parts - {"__init__"})
    for place, name in enumerate(order):
        folder = FOLDER / name
        inside = folder.rglob("*.py") if folder.is_dir() else [FOLDER / f"{name}.py"]
        for path in inside:
            assert set(imported_parts(path)) <= set(order[: place + 1]), path


@pytest.mark.parametrize("part", [dnnh.data, dnnh.nets], ids=lambda part: part.__name__)
def test_docstrings_of_parts_list_their_modules(part):
    listed = re.findall(r"^(?:``)?(\w+)(?:``)?(?:, |  )", part.__doc__, re.MULTILINE)
    listed += re.findall(r", ``(\w+)``", part.__doc__)
    folder = FOLDER / part.__name__.rpartition(".")[2]
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules <= set(listed)


def test_modules_of_a_part_do_not_import_each_other_in_circles():
    for folder in FOLDER.iterdir():
        if not (folder / "__init__.py").exists():
            continue
        imports = {}
        for path in folder.glob("*.py"):
            imports[path.stem] = set(imported_modules(path, f"dnnh.{folder.name}"))
        while imports:
            known = {name for name, others in imports.items() if not others & set(imports)}
            assert known, f"these import each other: {sorted(imports)}"
            imports = {name: others for name, others in imports.items() if name not in known}


def imported_modules(path, package):
    """Modules of a sub-package that a file imports when it is loaded."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            yield node.module.split(".")[2]
