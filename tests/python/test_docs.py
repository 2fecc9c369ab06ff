"""The documents: commands that exist and are run by a test, links and paths that resolve."""

import argparse
import ast
import functools
import itertools
import pathlib
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dnnh.paths import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import commands

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "data/README.md",
        ROOT / "models/README.md",
    ]
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}.*\n+)+)")
COMMAND = re.compile(
    r"^(?:[A-Z_0-9]+=\S+ )*(?:python (?:tools|benchmarks)/|dnnh |caffe |make\b|curl )"
)
LONG = "<!-- long -->"

# Which test runs a command in small, and how it names the command. The first pattern that
# matches counts. Commands in a block after <!-- long --> need none.
TESTS = {
    r"tools/get_data.py": ("data/test_folder.py", '"get_data"'),
    r"get_model.py": ("nets/test_pretrained.py::test_the_tool_writes_a_model", '"get_model"'),
    r"encode.py .*--update": ("retrieval/test_index_update.py", '"--update"'),
    r"encode.py .*--remove": ("retrieval/test_index_update.py", '"--remove"'),
    r"(encode|search).py .*--model .*onnx": ("test_wheel.py", '"--model"'),
    r"encode.py .*--net": (
        "retrieval/test_feature_hash.py::test_images_are_hashed_and_found",
        "encode(",
    ),
    r"encode.py .*--hash-of": (
        "retrieval/test_feature_hash.py::test_many_queries_need_the_hash_of_the_index",
        "--hash-of",
    ),
    r"tools/export.py": ("test_tools.py::test_a_net_is_exported", '"export.py"'),
    r"make_triplets.py .*--sampling": (
        "test_tools.py::test_the_other_samplings_train_too",
        '"make_triplets.py"',
    ),
    r"make_triplets.py": ("test_end_to_end.py::test_from_files_to_a_report", '"make_triplets"'),
    r"make_prototxt.py .*--(split|train-seed)": (
        "test_tools.py::test_prototxt_of_another_training_run",
        '"make_prototxt"',
    ),
    r"make_prototxt.py": ("test_end_to_end.py::test_from_files_to_a_report", '"make_prototxt"'),
    r"evaluate.py .*--codes": (
        "test_tools.py::test_evaluate_reads_any_codes_file",
        '"evaluate.py"',
    ),
    r"evaluate.py": ("test_end_to_end.py::test_from_files_to_a_report", '"evaluate"'),
    r"baselines.py": ("test_tools.py::test_baselines_are_fitted_once", '"baselines"'),
    r"tools/report.py": ("evaluation/test_comparison.py", '"report"'),
    r"plot_log.py": ("test_tools.py::test_images_train_codes_report", '"plot_log.py"'),
    r"encode.py .*--engine spark": ("retrieval/engines/test_spark.py", '"spark"'),
    r"encode.py": ("retrieval/test_index_writer.py", "run.encode("),
    r"search.py .*--engine spark": ("retrieval/engines/test_spark.py", '"search"'),
    r"search.py .*--engine milvus": ("retrieval/engines/test_milvus.py", '"search"'),
    r"fit.py": ("test_fit.py", "tools/fit.py"),
    r"duplicates.py": ("retrieval/test_duplicates.py", '"duplicates"'),
    r"tools/search.py": ("retrieval/test_retriever.py", '"search"'),
    r"serve.py": ("retrieval/test_retriever.py", "tools/serve.py"),
    r"benchmarks/search.py": ("test_benchmarks.py::test_a_table_is_written", "program is search"),
    r"caffe train": ("test_end_to_end.py::test_from_files_to_a_report", "bin/caffe"),
    r"curl .*/search": ("retrieval/test_server.py", "/search"),
}

# Files that are written, not committed; and those of a reader.
GENERATED = (
    "data/*",
    "results/*",
    "snapshots/*",
    "build/*",
    "build-cuda/*",
    "prototxt/generated/*",
)


@dataclass(frozen=True)
class Command:
    """A command in a document; ``block`` if it is a line of a code block."""

    page: str
    line: str
    is_long: bool
    block: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def text_of(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Code blocks, fenced or indented, and whether each is marked as long."""
    for match in itertools.chain(FENCE.finditer(text), INDENTED.finditer(FENCE.sub("", text))):
        code, before = match[match.lastindex or 0], match.string[: match.start()]
        yield code, before.rstrip().endswith(LONG)


def without_blocks(text: str) -> str:
    return INDENTED.sub("", FENCE.sub("", text))


def backticks(text: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", without_blocks(text))


def all_commands() -> list[Command]:
    found = []
    for page in PAGES:
        name, text = name_of(page), text_of(page)
        for code, is_long in blocks(text):
            for line in code.replace("\\\n", " ").splitlines():
                found.append(Command(name, line.strip(), is_long, block=True))
        for line in backticks(text):  # in tables, a bar is escaped
            found.append(Command(name, line.replace("\\|", "|"), is_long=False, block=False))
    return [command for command in found if COMMAND.match(command.line)]


COMMANDS = all_commands()


def test_there_are_commands():
    assert len(COMMANDS) > 50
    assert {"README.md", "docs/reproducing.md", "models/README.md"} <= {c.page for c in COMMANDS}


def words_of(line: str) -> Iterator[list[str]]:
    """The words of each program of a line, without comments, settings and redirections."""
    words = shlex.split(line.replace("2>&1", ""), comments=True)
    for is_pipe, program in itertools.groupby(words, lambda word: word == "|"):
        if not is_pipe:
            yield list(itertools.dropwhile(lambda word: re.match(r"[A-Z_0-9]+=", word), program))


@functools.cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text()


ABBREVIATIONS = [
    command for command in COMMANDS if "..." in command.line or command.line.endswith("--from")
]


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command not in ABBREVIATIONS], ids=str
)
def test_commands_exist_with_these_options(command):
    for words in words_of(command.line):
        CHECKS.get(words[0], lambda rest: None)(words[1:])


def check_tool(words: list[str]) -> None:
    script = words[0]
    assert (ROOT / script).is_file()
    if "argparse" not in (text := (ROOT / script).read_text()) and "cli.parser" not in text:
        return
    if words[1:] in ([], ["--help"]):
        return
    try:
        commands.parser(script).parse_args(words[1:])
    except SystemExit as error:
        raise AssertionError(f"{script} refuses {words[1:]}") from error


def check_caffe(words: list[str]) -> None:
    assert words[0] in ("train", "time")
    options = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for name in ("-solver", "-snapshot", "-gpu", "-weights"):
        options.add_argument(name)
    solver = options.parse_args(words[1:]).solver
    assert solver is None or is_generated(solver) or (ROOT / solver).is_file()


def check_make(words: list[str]) -> None:
    for word in words:
        setting, is_setting, _ = word.partition("=")
        pattern = rf"\$\({setting}\)|^{setting} *\?=" if is_setting else rf"^{word}:"
        assert re.search(pattern, makefile(), re.MULTILINE), f"the Makefile has no {word}"


def check_command(words: list[str]) -> None:
    if words[0] == "COMMAND":  # any of them
        return
    check_tool([f"tools/{words[0]}.py", *words[1:]])


CHECKS = {"python": check_tool, "dnnh": check_command, "caffe": check_caffe, "make": check_make}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.block and not c.is_long], ids=str)
def test_commands_are_run_by_a_test(command):
    patterns = [pattern for pattern in TESTS if re.search(pattern, command.line)]
    assert patterns, f"map this command to a test in TESTS, or put {LONG} before the block"
    path = ROOT / "tests/python" / TESTS[patterns[0]][0].partition("::")[0]
    text = text_of(path)
    if path.parent != ROOT / "tests/python":
        text += "".join(map(text_of, path.parent.glob("conftest.py")))
    for option in (word for words in words_of(command.line) for word in words):
        assert not option.startswith("--") or option in text, f"{path} never passes {option}"


@pytest.mark.parametrize(("test", "name"), TESTS.values())
def test_tests_that_run_commands_exist(test, name):
    path, _, function = test.partition("::")
    text = (ROOT / "tests/python" / path).read_text()
    if function:
        text = next(
            ast.get_source_segment(text, node) or ""
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name == function
        )
    assert name in text


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        for names in re.findall(r"pip install -e '?\.\[([\w,]+)\]", text_of(page)):
            assert set(names.split(",")) <= set(extras["optional-dependencies"]), name_of(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_line_becomes_a_list_by_accident(page):
    """A number and a full stop at the beginning of a line are an item of a list."""
    previous, count = "", 0
    for line in without_blocks(text_of(page)).splitlines():
        if item := re.match(r" *(\d+)\. ", line):
            assert int(item[1]) == count + 1, line
            assert not previous or count, line
            count += 1
        elif not line or line.startswith(("#", "|")):
            count = 0
        previous = line


def test_one_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in text_of(ROOT / "CITATION.cff")
    released = re.findall(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert released[0] == version


def test_long_blocks_are_followed_by_a_block():
    for page in PAGES:
        text = text_of(page)
        marked = sum(is_long for _, is_long in blocks(text))
        assert len(re.findall(rf"^{LONG}$", text, re.MULTILINE)) == marked, name_of(page)


# --- links and paths ----------------------------------------------------------------------


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of headings, as GitHub and MkDocs make them."""
    text = COMMENT.sub("", FENCE.sub("", text_of(page)))
    slugs = set()
    for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slugs.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return slugs


COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    text = COMMENT.sub("", without_blocks(text_of(page)))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} does not exist"
        assert linked.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(linked), f"{target}: no such heading"


@functools.cache
def committed() -> frozenset[str]:
    """All files that are committed, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # no clone, but an unpacked archive
        return frozenset(
            str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if ".venv" not in path.parts
        )
    return frozenset(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


@functools.cache
def everything() -> str:
    """All names, a line each: of files, and of folders with a slash at the end."""
    folders = {f"{parent}/" for name in committed() for parent in pathlib.Path(name).parents}
    return "\n".join(["", *committed(), *folders, ""])


def is_generated(path: str) -> bool:
    return any(pathlib.PurePath(path).is_relative_to(name[:-2]) for name in GENERATED)


def alternatives(path: str) -> list[str]:
    """a{b,c} and a.{b,c}: each path."""
    match = re.search(r"\{([^{}]*)\}", path)
    if match is None:
        return [path]
    return [
        whole
        for part in match[1].split(",")
        for whole in alternatives(path[: match.start()] + part + path[match.end() :])
    ]


SUFFIXES = "caffemodel|cmake|cpp|cu|h5|hpp|json|md|patch|png|proto|prototxt|py|sh|svg|toml|txt|yml"
NAME = r"[\w.<>{}\[\],*-]+"
PATH = re.compile(rf"(?:{NAME}/)*(?:{NAME}\.(?:{SUFFIXES}|\*|{{[\w,]+}})|(?<=/)[\w<>{{}},*-]*)")
# Not of this repository: files of a reader, of an archive, of Caffe; files that a tool writes.
ELSEWHERE = re.compile(
    "|".join(
        [
            r"photos|query\.jpg|list\.csv|features\.npy|^/|FILE|DIR|PATH|NAME|your/|\.\.\.",
            r"^(?:train|test)/|Labels_|Imagelist|Concepts81|BoW_int|_32x32\.mat",
            r"^caffe\.proto$|^generated/",
            r"index\.h5$|^(?:features|splits)/|lmdb/?$|_skipped\.txt|\.skipped\.txt|\.partial/",
            r"^<name>\.h5$|^(?:codes|triplets)\.h5$|(?:^|/)(?:result|state|layout|gpu)\.json$|\*/codes\.h5",
            r"^training\.png$|^hits\.",
        ]
    )
)


PYTHON_NAME = re.compile(r"dnnh(?:\.(?!proto$)\w+)+")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_names_exist(page):
    names = re.findall(r"^::: (\S+)$", text_of(page), re.MULTILINE)
    for name in [*names, *filter(PYTHON_NAME.fullmatch, backticks(text_of(page)))]:
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_exist(page):
    missing = []
    for token in backticks(text_of(page)):
        if not PATH.fullmatch(token) or ELSEWHERE.search(token) or PYTHON_NAME.fullmatch(token):
            continue
        for path in alternatives(token):
            if is_generated(path):
                continue
            # From the repository, or from one of its folders: `nets/weights.py`, `towers.py`.
            pattern = re.sub(r"(?:\\\*)+|<\w+>|\\\[.*?\\\]", ".*", re.escape(path))
            if not re.search(rf"(?:\n|/){pattern}/?\n", everything()):
                missing.append(path)
    assert not missing


# --- the site -----------------------------------------------------------------------------


def test_the_site_has_every_page():
    text = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        assert str(page.relative_to(ROOT / "docs")) in text, f"add {page.name} to mkdocs.yml"


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    import hooks

    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Content-Security-Policy" in (tmp_path / "index.html").read_text()
    assert "--nprobe" in (tmp_path / "command_line.html").read_text()
    page = hooks.Loads()
    page.feed('<a href="https://a.b/"><img src="c.png"><script src="https://d.e/f.js">')
    assert page.addresses == ["<script src=https://d.e/f.js>"]


def test_the_command_reference_has_every_option():
    for folder in ("tools", "benchmarks"):
        text = commands.reference(folder)
        for script in (ROOT / folder).glob("*.py"):
            if script.name in ("harness.py", "onnx_in_torch.py"):
                continue
            name = f"{folder}/{script.name}"
            section = text.split(f"## {name}\n")[1].split("\n## ")[0]
            for action in commands.parser(name)._actions:
                for option in action.option_strings or [action.dest]:
                    assert f"`{option}`" in section or option in ("-h", "--help"), (name, option)


def test_experiments_begin_with_a_conclusion():
    for page in ROOT.glob("docs/experiments/*.md"):
        if page.name == "index.md":
            continue
        heading, conclusion, *_ = text_of(page).split("\n\n")
        assert heading.endswith("?"), f"{page.name} is a question"
        assert not conclusion.startswith(("#", "|", "-", "```")), page.name
