"""The options of every command, read from its own argument parser."""

import argparse
import contextlib
import functools
import html
import importlib.util
import pathlib
import re
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]


class _Parser(Exception):
    """Carries the parser out of a command that is about to parse its arguments."""


@functools.cache
def parser(script: str) -> argparse.ArgumentParser:
    """The argument parser of a command.

    Parameters
    ----------
    script : str
        The command's file, relative to the repository: ``tools/encode.py``.
    """
    path = ROOT / script
    name = f"command_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _stopped_at_parse_args(path):
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        try:
            module.main()
        except _Parser as found:
            return found.args[0]
    raise ValueError(f"{script} parses no arguments")


@contextlib.contextmanager
def _stopped_at_parse_args(script: pathlib.Path) -> Iterator[None]:
    def stop(self: argparse.ArgumentParser, *_: object) -> None:
        raise _Parser(self)

    parse_args, argv, path = argparse.ArgumentParser.parse_args, sys.argv, list(sys.path)
    argparse.ArgumentParser.parse_args = stop  # type: ignore[method-assign,assignment]
    sys.argv = [str(script)]
    sys.path[:0] = [str(script.parent), str(ROOT / "python")]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]
        sys.argv, sys.path[:] = argv, path


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All options and positional arguments but --help."""
    return [action for action in parser._actions if "--help" not in action.option_strings]


def reference(folder: str) -> str:
    """A section of Markdown for each command of a folder."""
    scripts = sorted(path.name for path in (ROOT / folder).glob("*.py"))
    return "\n".join(
        _section(f"{folder}/{name}")
        for name in scripts
        if "argparse" in (text := (ROOT / folder / name).read_text(encoding="utf-8"))
        or "cli.parser" in text
    )


def _section(script: str) -> str:
    command = parser(script)
    lines = [f"## {script}", "", _description(command.description or ""), ""]
    rows = [_row(action) for action in options(command)]
    lines += ["| option | value | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _description(text: str) -> str:
    """Paragraphs of a docstring; those that are commands become code blocks."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.splitlines()
        if all(re.match(r" {2,}|(caffe|python) ", line) for line in lines):
            code = "\n".join(line.removeprefix("  ") for line in lines)
            paragraphs.append(f"```text\n{code}\n```")
        else:
            paragraphs.append(_escape(" ".join(lines)))
    return "\n\n".join(paragraphs)


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    if action.required and action.option_strings:
        names += " (required)"
    if action.choices is not None:
        value = ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.nargs == 0:
        value = ""
    else:
        value = f"`{action.metavar or action.dest.upper()}`"
    if action.nargs == "+":
        value += ", one or more"
    meaning = _escape((action.help or "") % {**vars(action), "prog": ""})
    return f"| {names} | {value} | {meaning} |".replace("  ", " ")


def _escape(text: str) -> str:
    """Plain text as Markdown: words in backticks stay code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_|\[\]])", r"\\\1", html.escape(part, False))
        for part in parts
    )
