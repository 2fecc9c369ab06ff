"""Break each layer in named ways, and require its tests to fail.

  python tests/mutation_tests.py            all mutants
  python tests/mutation_tests.py margin     those with "margin" in the name

A test that passes whatever the layer does is useless. Each mutant (tests/mutants.py) is one
edit of a layer's source. It is compiled into a library of its own, which the test program
built by `make layer-tests` loads in place of the real one. A mutant of a GPU kernel is compiled
as in tests/layers/gpu/serial_kernels.cpp, into a test program of its own.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import mutation_runner
from mutants import MAY_HANG, MUTANTS, ONLY_WITH, TESTS, Mutant

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
TIMEOUT = 60  # seconds; the tests of an unchanged layer take a few
KERNELS = "gpu"  # all files of layers/gpu/ are tested together
KERNELS_PROGRAM = "tests/layers/test_kernels"  # relative to the build
NOT_FOR_KERNELS = "*Bad*:*ForceBackward*:PiecewiseThresholdSchedule*"  # as in CMakeLists.txt


# -O0 compiles fastest.
FAST = ("-O0", "-w")
# What most of a layer's headers include. To read it takes longer than all else.
COMMON_HEADERS = """
#include "caffe/caffe.hpp"
#if __has_include(<dnnl.hpp>)
#include <dnnl.hpp>
#endif
"""


def compile_commands() -> dict[str, tuple[list[str], pathlib.Path]]:
    """Return the build's compiler and options, and the object file, for each layer."""
    commands = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["file"])
        if source.is_relative_to(ROOT / "layers") and source.suffix == ".cpp":
            layer = str(source.relative_to(ROOT / "layers").with_suffix(""))
            words = shlex.split(entry["command"])
            output, input = words.index("-o"), words.index("-c")
            compiled = pathlib.Path(entry["directory"], words[output + 1])
            del words[input : input + 2], words[output : output + 2]
            commands[layer] = words, compiled
    return commands


COMMANDS = compile_commands() if (BUILD / "compile_commands.json").exists() else {}
PRECOMPILED: dict[tuple[str, ...], pathlib.Path] = {}


def precompile(options: tuple[str, ...], folder: pathlib.Path) -> None:
    """Compile COMMON_HEADERS with a compiler and its options."""
    header = folder / f"common_{len(PRECOMPILED)}.hpp"
    header.write_text(COMMON_HEADERS)
    output = ("-x", "c++-header", header, "-o", f"{header}.gch")
    subprocess.run([*options, *FAST, *output], check=True)
    PRECOMPILED[options] = header


def build_mutant(name: str, mutant: Mutant, folder: pathlib.Path) -> None:
    """Build the layers with one mutant: a library, of kernels the test program.

    Exits if the mutant does not match.
    """
    text = (ROOT / "layers" / mutant.source).read_text()
    matches = text.count(mutant.original)
    if matches != 1:
        sys.exit(
            f"error: mutant '{name}': {mutant.original!r} occurs {matches} times in "
            f"layers/{mutant.source}, not once; update tests/mutants.py"
        )
    layers = folder / "layers"
    shutil.copytree(ROOT / "layers", layers)
    (layers / mutant.source).write_text(text.replace(mutant.original, mutant.replacement))
    if mutant.layer == KERNELS:
        build_kernels(folder)
        return
    compiled = folder / "mutant.o"
    compiler, *options = COMMANDS[mutant.layer][0]
    header = PRECOMPILED[(compiler, *options)]
    # The copies are included before the originals.
    first = [compiler, "-include", header, f"-I{folder}"]
    source = layers / f"{mutant.layer}.cpp"
    subprocess.run([*first, *options, *FAST, "-c", source, "-o", compiled], check=True)
    link(mutant.layer, compiled, folder)


def build_kernels(folder: pathlib.Path) -> None:
    """Build test_kernels, with the copy of layers/ in a folder, by the build's own commands."""
    done = subprocess.run(
        ["ninja", "-C", BUILD, "-t", "commands", KERNELS_PROGRAM],
        check=True,
        capture_output=True,
        text=True,
    )
    commands = [line for line in done.stdout.splitlines() if "test_kernels" in line]
    (compiling,) = (line for line in commands if " -c " in line and "serial_kernels.cpp" in line)
    linking = commands[-1]
    compiled = re.search(r"\S*serial_kernels\.cpp\.o(?= )", compiling.partition(" -o ")[2])
    assert compiled and f"-I{ROOT} " in compiling
    for command, output in ((compiling, compiled[0]), (linking, KERNELS_PROGRAM)):
        new = folder / pathlib.Path(output).name
        words = command.replace(f"-I{ROOT} ", f"-I{folder} -I{ROOT} ").replace(
            f" -o {output} ", f" -o {new} "
        )
        words = words.replace(f" {compiled[0]} ", f" {folder / pathlib.Path(compiled[0]).name} ")
        subprocess.run(words, shell=True, check=True, cwd=BUILD)


def link(layer: str, compiled: pathlib.Path, folder: pathlib.Path) -> None:
    """Link a library of the layers with this object in place of the layer's own."""
    linker = COMMANDS[layer][0][0]
    # The first object's inline functions count. A layer of ours registers itself before what
    # replaces it.
    replaced = layer.removeprefix("onednn/")
    before = [replaced] if replaced != layer and replaced in COMMANDS else []
    objects = [COMMANDS[other][1] for other in before]
    objects.append(compiled)
    objects += [built for other, (_, built) in COMMANDS.items() if other not in (layer, *before)]
    subprocess.run(
        [
            linker,
            "-shared",
            "-o",
            folder / "libdnnh_layers.so",
            "-Wl,-soname,libdnnh_layers.so",
            *objects,
            f"-L{BUILD}",
            "-lcaffe",
        ],
        check=True,
    )


def tests_pass(layer: str, folder: pathlib.Path) -> bool:
    """Return whether a layer's tests pass, within TIMEOUT, with the library in a folder."""
    program, excluded = BUILD / "tests/layers/test_layers", "*Bad*"
    if layer == KERNELS:
        program, excluded = folder / "test_kernels", NOT_FOR_KERNELS
    try:
        run = subprocess.run(
            [
                program,
                f"--gtest_filter={TESTS[layer]}-{excluded}",
                "--gtest_fail_fast",
            ],
            # Temporary files of a test that is stopped are removed with the folder.
            env={
                **os.environ,
                "LD_LIBRARY_PATH": f"{folder}:{BUILD}",
                "TMPDIR": str(folder),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        if layer in MAY_HANG:
            return False
        sys.exit(
            f"error: the tests of {layer} took more than {TIMEOUT} s, so there is no result; "
            "run this again on an idle machine"
        )
    if not re.search(r"Running [1-9]\d* tests? from", run.stdout):
        sys.exit(f"error: the tests of {layer} did not run:\n{run.stdout[-2000:]}")
    return run.returncode == 0


def survives(name: str) -> bool:
    """Return whether the tests pass with a mutant: then they are inadequate."""
    mutant = MUTANTS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        build_mutant(name, mutant, folder)
        return tests_pass(mutant.layer, folder)


def passes_unchanged(layer: str) -> bool:
    """Return whether the tests pass with a library that is linked in the same way from
    unchanged objects. If not, a failure says nothing about a mutant."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        if layer == KERNELS:
            shutil.copytree(ROOT / "layers", folder / "layers")
            build_kernels(folder)
        else:
            link(layer, COMMANDS[layer][1], folder)
        return tests_pass(layer, folder)


def main() -> None:
    wanted = mutation_runner.chosen(MUTANTS, "tests/mutants.py")
    programs = (BUILD / "tests/layers/test_layers", BUILD / KERNELS_PROGRAM)
    if not COMMANDS or not all(program.exists() for program in programs):
        sys.exit("error: the layer tests are not built; run make layer-tests")
    instructions = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    for instruction, words in ONLY_WITH.items():
        skipped = [name for name in wanted if words in name]
        if skipped and instruction not in instructions:
            wanted = [name for name in wanted if name not in skipped]
            print(f"This processor has no {instruction}; skipped: {', '.join(skipped)}")
    if not any(layer.startswith("onednn/") for layer in COMMANDS):
        wanted = [name for name in wanted if not MUTANTS[name].layer.startswith("onednn/")]
        print("This build has no oneDNN; its mutants are skipped")
    layers = dict.fromkeys(MUTANTS[name].layer for name in wanted)
    with mutation_runner.pool() as threads:
        passing = dict(zip(layers, threads.map(passes_unchanged, layers)))
    failing = [layer for layer, passed in passing.items() if not passed]
    if failing:
        sys.exit(f"error: without a mutant, the tests fail for {', '.join(failing)}")
    with tempfile.TemporaryDirectory() as headers:
        for options in {tuple(COMMANDS[layer][0]) for layer in layers if layer != KERNELS}:
            precompile(options, pathlib.Path(headers))
        passed = mutation_runner.report(wanted, survives, "mutation tests")
    sys.exit(not wanted or not passed)


if __name__ == "__main__":
    main()
