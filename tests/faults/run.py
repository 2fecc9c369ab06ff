"""Kill commands, and fill the disk, at every operation that changes the disk.

  python tests/faults/run.py                        some moments of each command
  python tests/faults/run.py --all                  every moment (an hour)
  python tests/faults/run.py --only encode --all    of one command

For each command there is an old state of the disk, and a new one: what the command leaves when
nothing goes wrong. After a kill (SIGKILL) before any operation, each file must be as in the old
or as in the new state, files that belong together must be of one of them, and the same command
again must lead to the new state, with nothing left over. On a full disk the command must end
with one sentence that names a file, and the old state.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import importlib
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
CAFFE = ROOT / ".venv/bin/caffe"
SECONDS = 120  # that a command may take
State = dict[str, bytes | None]  # content of each file by its path; None for a folder


@dataclasses.dataclass(frozen=True)
class Case:
    """A command, run in a folder of its own.

    Attributes
    ----------
    tool : str
        Module in tools/, or "caffe".
    arguments : tuple of str
        ``{}`` stands for the folder.
    prepare : function of the folder
        Makes the inputs, and the old state.
    groups : tuple of tuples of str
        Files that belong together: all old, or all new.
    resumable : str
        Start of the paths of what is left on purpose, to resume from.
    """

    tool: str
    arguments: tuple[str, ...]
    prepare: Callable[[pathlib.Path], None]
    groups: tuple[tuple[str, ...], ...] = ()
    resumable: str = "\0"  # no path begins so


# --- the old states -------------------------------------------------------------------------


def photos(folder: pathlib.Path, count: int, seed: int, broken: int = 0) -> None:
    """Three classes of random images."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    for i in range(count):
        path = folder / f"class{i % 3}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < broken:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def prepare_dataset(folder: pathlib.Path) -> None:
    photos(folder / "photos", 90, 1)
    run_tool("get_data", get_data(folder))
    shutil.rmtree(folder / "photos")
    photos(folder / "photos", 130, 2, broken=25)


def get_data(folder: pathlib.Path | str) -> tuple[str, ...]:
    return ("folder", "--from", f"{folder}/photos", "--name", "pets")


def triplets(folder: pathlib.Path | str, count: int) -> tuple[str, ...]:
    return (
        *("--dataset", "digits", "--sampling", "listed"),
        *("--triplets", str(count), "--output", f"{folder}/database"),
    )


def prepare_index(folder: pathlib.Path) -> None:
    photos(folder / "photos", 30, 1, broken=1)
    run_tool("encode", encode(folder))
    photos(folder / "photos", 45, 2, broken=2)


def encode(folder: pathlib.Path | str) -> tuple[str, ...]:
    return ("--images", f"{folder}/photos", "--output", f"{folder}/index.h5")


def prepare_update(folder: pathlib.Path) -> None:
    """An index, and photos of which some are as before, some new, changed, broken and gone."""
    photos(folder / "photos", 30, 1)
    run_tool("encode", encode(folder))
    (folder / "photos/class0/000.png").unlink()
    (folder / "photos/class1/001.png").write_bytes(b"no image")
    shutil.copy(folder / "photos/class2/002.png", folder / "photos/class0/003.png")
    for i in range(12):
        shutil.copy(
            folder / f"photos/class0/{6 + i // 2 * 3:03}.png", folder / f"photos/new{i}.png"
        )


def prepare_parquet(folder: pathlib.Path) -> None:
    """An index of three images, one of which was removed."""
    import pyarrow
    from pyarrow import parquet as parquet_files

    from dnnh.retrieval import parquet, parquet_update

    index = folder / "index"
    (index / parquet.IMAGES).mkdir(parents=True)
    names = ["a.png", "b.png", "c.png"]
    table = {
        "row": pyarrow.array(range(3), pyarrow.int64()),
        "name": names,
        "labels": pyarrow.array([[]] * 3, pyarrow.list_(pyarrow.string())),
        "stamp": ["1"] * 3,
        "skipped": pyarrow.array([None] * 3, pyarrow.string()),
        "word_0": pyarrow.array([1, 2, 3], pyarrow.int64()),
    }
    parquet_files.write_table(pyarrow.table(table), index / parquet.IMAGES / "part-0.parquet")
    about = parquet.About(12, "digits", "dnnh", "500", "0" * 64, "/photos", 3, 0, "time")
    parquet.write_about(index, about)
    parquet_update.remove(index, names[:1])


def prepare_result(folder: pathlib.Path) -> None:
    write_codes(folder / "codes.h5", 1)
    run_tool("evaluate", evaluate(folder))
    write_codes(folder / "codes.h5", 2)


def write_codes(path: pathlib.Path, seed: int) -> None:
    import numpy as np

    from dnnh import packed_codes
    from dnnh.evaluation import codes

    random = np.random.default_rng(seed)
    packed = packed_codes.pack(random.integers(0, 2, (60, 12)))
    labels = random.integers(0, 3, 60)
    codes.save(
        path,
        codes.Codes(
            packed[:10], packed[10:], labels[:10], labels[10:],
            bits=12, dataset="digits", method="random", seed=seed, source=f"seed {seed}",
            protocol="paper",
        ),
    )  # fmt: skip


def evaluate(folder: pathlib.Path | str) -> tuple[str, ...]:
    return (
        *("--codes", f"{folder}/codes.h5", "--output", f"{folder}/result"),
        *("--json", f"{folder}/copy.json"),
    )


def prepare_page(folder: pathlib.Path) -> None:
    prepare_index(folder)
    run_tool("search", search(folder, "photos/class0/003.png"))


def search(folder: pathlib.Path | str, image: str) -> tuple[str, ...]:
    return (
        *("--index", f"{folder}/index.h5", "--image", f"{folder}/{image}"),
        *("--json", f"{folder}/hits.json", "--html", f"{folder}/hits.html"),
    )


SOLVER = """net_param {
  layer { name: "x" type: "DummyData" top: "x"
    dummy_data_param { shape { dim: 4 dim: 50 } data_filler { type: "gaussian" std: 1 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
    inner_product_param { num_output: 300 weight_filler { type: "gaussian" std: 1 } } }
  layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 } }
base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 4 snapshot: 2 random_seed: 1
snapshot_prefix: "%s/net" snapshot_format: %s
"""


def prepare_training(folder: pathlib.Path, snapshot_format: str = "BINARYPROTO") -> None:
    (folder / "solver.prototxt").write_text(SOLVER % (folder, snapshot_format))


def prepare_hdf5_training(folder: pathlib.Path) -> None:
    prepare_training(folder, "HDF5")


RESULT = ("report.html", "result.json", "curves.csv", "precision_recall.png")
CASES = {
    "get_data": Case("get_data", (*get_data("{}"), "--force"), prepare_dataset),
    "make_triplets": Case(
        "make_triplets",
        triplets("{}", 500),
        lambda folder: run_tool("make_triplets", triplets(folder, 300)),
        groups=(("database/data.mdb", "database/layout.json", "database/triplets.h5"),),
    ),
    "encode": Case(
        "encode",
        (*encode("{}"), "--force"),
        prepare_index,
        resumable="index.h5.partial",
    ),
    "update": Case(
        "encode",
        ("--update", "--output", "{}/index.h5"),
        prepare_update,
        resumable="index.h5.partial",
    ),
    "remove": Case(
        "encode",
        ("--remove", "class1/001.png", "--output", "{}/index.h5"),
        prepare_update,
        resumable="index.h5.partial",
    ),
    "remove_parquet": Case(
        "encode",
        ("--remove", "b.png", "--output", "{}/index"),
        prepare_parquet,
        resumable="index.partial",
    ),
    "evaluate": Case(
        "evaluate",
        evaluate("{}"),
        prepare_result,
        groups=(tuple(f"result/{name}" for name in RESULT),),
    ),
    "search": Case("search", search("{}", "photos/class1/004.png"), prepare_page),
    "caffe": Case("caffe", ("train", "-solver", "{}/solver.prototxt"), prepare_training),
    "caffe_hdf5": Case("caffe", ("train", "-solver", "{}/solver.prototxt"), prepare_hdf5_training),
}


# --- running --------------------------------------------------------------------------------


def compile_library(folder: pathlib.Path) -> pathlib.Path:
    """The library of faults.c."""
    library = folder / "faults.so"
    source = pathlib.Path(__file__).with_name("faults.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return library


def run_tool(tool: str, arguments: tuple[str, ...]) -> None:
    """Run a tool in this process, with time and weights that are always the same."""
    from dnnh.retrieval import image_groups

    image_groups.GROUP = 10
    time.perf_counter = lambda: 0.0
    command = importlib.import_module(tool)
    sys.argv = [f"{tool}.py", *arguments]
    if tool in ("encode", "search") and "--remove" not in arguments:
        sys.argv += ["--model", str(WEIGHTS)]
    if tool == "encode" and "--images" in arguments:
        sys.argv += ["--dataset", "digits", "--bits", "12"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        command.main()


WEIGHTS = pathlib.Path()


def write_weights(path: pathlib.Path) -> None:
    """An untrained net of the digits, 12 bits."""
    import caffe

    from dnnh.nets import prototxt, specs

    caffe.set_random_seed(1)
    deploy = path.with_suffix(".prototxt")
    deploy.write_text(prototxt.deploy_text(specs.net_spec("digits", bits=12)))
    caffe.Net(str(deploy), caffe.TEST).save(str(path))


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a command ended: negative signal or exit status, its message, its operations."""

    status: int
    message: str
    operations: int


def run_case(
    case: Case,
    folder: pathlib.Path,
    library: pathlib.Path,
    kill_at: int = 0,
    full_from: int = 0,
) -> Ending:
    """Run the command of a case in a process of its own."""
    arguments = tuple(word.format(folder) for word in case.arguments)
    if case.tool == "caffe":
        return run_caffe(arguments, folder, library, kill_at, full_from)
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read_end)
        report = {"message": "", "operations": 0}
        status = 0
        faults = ctypes.CDLL(str(library))
        try:
            signal.alarm(SECONDS)
            point_dnnh_at(folder)
            faults.faults_set(os.fsencode(folder), ctypes.c_long(kill_at), ctypes.c_long(full_from))
            run_tool(case.tool, arguments)
        except BaseException as error:
            from dnnh.errors import UserError

            status = 1
            report["message"] = str(error)
            if not isinstance(error, (UserError, OSError)):
                report["message"] = f"traceback: {error!r}"
        report["operations"] = faults.faults_count()
        faults.faults_set(b"", ctypes.c_long(0), ctypes.c_long(0))
        os.write(write_end, json.dumps(report).encode())
        os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(process, 0)
    report = json.loads(data) if data else {"message": "", "operations": 0}
    return Ending(os.waitstatus_to_exitcode(status), report["message"], report["operations"])


def point_dnnh_at(folder: pathlib.Path) -> None:
    """Let data sets and results be written below a folder."""
    from dnnh import paths

    digits = paths.DATA / "digits.h5"
    paths.ROOT, paths.DATA, paths.RESULTS = folder, folder / "data", folder / "results"
    paths.DATA.mkdir(exist_ok=True)
    if not (paths.DATA / "digits.h5").exists():
        (paths.DATA / "digits.h5").symlink_to(digits)


def run_caffe(
    arguments: tuple[str, ...],
    folder: pathlib.Path,
    library: pathlib.Path,
    kill_at: int,
    full_from: int,
) -> Ending:
    count = folder.with_name("count")
    count.unlink(missing_ok=True)
    completed = subprocess.run(
        [CAFFE, *arguments],
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAULTS_FOLDER": str(folder),
            "FAULTS_KILL_AT": str(kill_at),
            "FAULTS_FULL_FROM": str(full_from),
            "FAULTS_COUNT_FILE": str(count),
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    fatal = [line for line in completed.stderr.splitlines() if line.startswith("F")]
    operations = int(count.read_text()) if count.exists() else 0
    return Ending(completed.returncode, " ".join(fatal), operations)


# --- checking -------------------------------------------------------------------------------


def state_of(folder: pathlib.Path) -> State:
    """Everything below a folder but the inputs."""
    state: State = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith("photos") or path.is_symlink():
            continue
        state[name] = None if path.is_dir() else content_of(path)
    return state


def content_of(path: pathlib.Path) -> bytes:
    """The bytes of a file; of Caffe's HDF5 files, which have the time in them, the values."""
    if not path.name.endswith((".caffemodel.h5", ".solverstate.h5")):
        return path.read_bytes()
    import h5py

    values: list[object] = []
    try:
        with h5py.File(path) as file:
            file.visititems(
                lambda name, member: values.append(
                    (name, member[()].tolist() if isinstance(member, h5py.Dataset) else None)
                )
            )
    except (OSError, RuntimeError, KeyError, ValueError):
        return b"not a whole HDF5 file"
    return repr(values).encode()


def without_leftovers(state: State) -> State:
    """A state without what a killed process may leave until the next one comes."""
    return {
        name: content
        for name, content in state.items()
        if not any(part.startswith(".") for part in name.split("/"))
        and not name.endswith((".partial", ".tempfile"))
    }


def problems_after_a_kill(case: Case, old: State, new: State, now: State) -> Iterator[str]:
    now = without_leftovers(now)
    for name, content in now.items():
        if name.startswith(case.resumable) or (name in old and content == old[name]):
            continue
        if name not in new or content != new[name]:
            yield f"{name} is neither as before nor as it should be"
    for name in old:
        if name in new and name not in now and not name.startswith(case.resumable):
            yield f"{name} is gone"
    for group in case.groups:
        ages = {
            "new" if now.get(name) == new.get(name) else "old"
            for name in group
            if old.get(name) != new.get(name)
        }
        if len(ages) > 1:
            yield f"{', '.join(group)} are partly old and partly new"


def check(
    name: str, case: Case, library: pathlib.Path, moments: int, space: pathlib.Path
) -> Iterator[str]:
    """Yield what went wrong, for kills and for full disks."""
    from dnnh import atomic_files

    before, folder = space / "before", space / "folder"
    before.mkdir()
    child = os.fork()
    if child == 0:
        folder.mkdir()
        point_dnnh_at(folder)
        case.prepare(folder)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        yield f"{name}: its old state could not be made"
        return
    shutil.rmtree(before)
    folder.rename(before)

    def start() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder, symlinks=True)

    start()
    old = state_of(folder)
    ending = run_case(case, folder, library)
    if ending.status:
        yield f"{name}: it fails without any fault: {ending.message}"
        return
    new = state_of(folder)
    count = ending.operations
    if count < 3:
        yield f"{name}: {count} operations were counted; the library of faults.c has no effect"
        return
    for at in chosen(count, moments):
        start()
        ending = run_case(case, folder, library, kill_at=at)
        if ending.status != -signal.SIGKILL:
            yield f"{name}, operation {at} of {count}: it was not killed, but ended {ending}"
            continue
        for group in case.groups:  # as readers do
            atomic_files.complete((folder / group[0]).parent)
        for problem in problems_after_a_kill(case, old, new, state_of(folder)):
            yield f"{name}, killed before operation {at} of {count}: {problem}"
        ending = run_case(case, folder, library)
        now = state_of(folder)
        if ending.status or now != new:
            different = sorted(n for n in {*now, *new} if now.get(n, 0) != new.get(n, 0))
            yield (
                f"{name}, run again after operation {at} of {count}: {ending.message} "
                f"{', '.join(different)} differ"
            )
    for at in chosen(count, moments):
        start()
        ending = run_case(case, folder, library, full_from=at)
        if ending.status == 0 and state_of(folder) == new:
            continue  # it needed no room after that
        if ending.status == 0 or ending.message.startswith("traceback"):
            yield f"{name}, full from operation {at} of {count}: it ended {ending}"
        elif str(folder) not in ending.message:
            yield f"{name}, full from operation {at} of {count}: no file in '{ending.message}'"
        for problem in problems_after_a_kill(case, old, new, state_of(folder)):
            yield f"{name}, full from operation {at} of {count}: {problem}"
        now = state_of(folder)
        for left in sorted(now.keys() - without_leftovers(now).keys()):
            if left.startswith(case.resumable):
                continue
            yield f"{name}, full from operation {at} of {count}: {left} is left"


def chosen(count: int, moments: int) -> list[int]:
    """Some of the operations 1 to count: the last ones, where names change, and others evenly."""
    if moments >= count:
        return list(range(1, count + 1))
    last = range(max(1, count - moments // 2 + 1), count + 1)
    evenly = (1 + i * (count - 1) // max(1, moments - 1) for i in range(moments))
    return sorted({*last, *evenly})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(CASES), nargs="+", default=list(CASES))
    parser.add_argument("--moments", type=int, default=6, help="of each command (default: 6)")
    parser.add_argument("--all", action="store_true", help="every moment")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        space = pathlib.Path(temporary).resolve()
        if "FAULTS_LIBRARY" not in os.environ:
            library = compile_library(space)
            environment = {
                **os.environ,
                "FAULTS_LIBRARY": str(library),
                "LD_PRELOAD": str(library),
                "OMP_NUM_THREADS": "1",
                "SOURCE_DATE_EPOCH": "0",  # matplotlib writes the time into PDF files
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)
        sys.exit(check_all(arguments, space))


def check_all(arguments: argparse.Namespace, space: pathlib.Path) -> int:
    global WEIGHTS
    sys.path.insert(0, str(ROOT / "tools"))
    from dnnh.data import datasets
    from dnnh.nets import pycaffe

    pycaffe.load()
    datasets.load("digits")
    WEIGHTS = space / "net.caffemodel"
    child = os.fork()
    if child == 0:
        write_weights(WEIGHTS)
        os._exit(0)
    os.waitpid(child, 0)
    for tool in {case.tool for case in CASES.values()} - {"caffe"}:
        importlib.import_module(tool)  # once, for all processes
    library = pathlib.Path(os.environ["FAULTS_LIBRARY"])
    problems = 0
    for name in arguments.only:
        folder = space / name
        folder.mkdir()
        start = time.monotonic()
        moments = 10**9 if arguments.all else arguments.moments
        found = 0
        for problem in check(name, CASES[name], library, moments, folder):
            print(problem, flush=True)
            found += 1
        print(f"{name}: {found} problems, {time.monotonic() - start:.0f} s", flush=True)
        problems += found
    return int(problems > 0)


if __name__ == "__main__":
    main()
