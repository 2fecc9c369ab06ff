"""The command `dnnh`: `dnnh encode ...` is `python tools/encode.py ...`."""

import ast
import importlib.util
import pathlib
import sys
from typing import Any

from dnnh import errors, paths
from dnnh.errors import UserError


def main() -> None:
    """Run the tool that the first argument names."""
    errors.run(_run)


def _run() -> None:
    tools = {path.stem: path for path in sorted(paths.TOOLS.glob("*.py"))}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("usage: dnnh COMMAND [OPTION ...]; dnnh COMMAND --help has a command's options\n")
        for command, path in tools.items():
            print(f"  {command:<21} {_summary(path)}")
        return
    if name not in tools:
        raise UserError(f"'{name}' is not a command of dnnh; its commands: " + ", ".join(tools))
    sys.argv[:2] = [f"{errors.COMMAND} {name}"]
    _load(tools[name]).main()


def _load(path: pathlib.Path) -> Any:
    """The module of a tool's file."""
    spec = importlib.util.spec_from_file_location(f"dnnh_tool_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _summary(path: pathlib.Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.partition("\n\n")[0].split())
