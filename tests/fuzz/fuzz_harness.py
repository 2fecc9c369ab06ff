"""Runs a reader on mutated files, in a process of its own, and judges what it does.

An input is handled well if the reader reads it, or raises a UserError: one line that names a
file of the seed. It takes less than SECONDS and BYTES, prints nothing on stderr, and leaves the
folder as it was. Anything else is a finding: another exception, a signal, a hang.

The program caffe may end by a failed check of Caffe's logger, too.
"""

import contextlib
import ctypes
import dataclasses
import faulthandler
import fcntl
import fnmatch
import functools
import json
import os
import pathlib
import random
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import pycaffe

import mutations
from readers import READERS, Reader

pycaffe.load()  # which logs warnings alone from then on

SECONDS = 10  # of the processor, for one input
WAITING_SECONDS = 60  # on the clock: a reader that waits takes no processor time
BYTES = 1 << 30  # more than the process had before
ADDRESS_BYTES = 4 << 30  # likewise, where the system refuses more
PROGRAM_BYTES = 3 << 30  # of the address space of caffe
CAFFE = paths.ROOT / ".venv/bin/caffe"
MEMORY = "/dev/shm"  # a file system in memory: inputs are written and deleted all the time
FOLDER = MEMORY if os.access(MEMORY, os.W_OK) else None

# What libraries say where the system refused memory.
NO_MEMORY = re.compile(
    r"MemoryError|bad_alloc|[Cc]annot allocate|[Uu]nable to allocate|memory allocation failed"
    r"|[Oo]ut of memory|malloc of size"
)


@dataclasses.dataclass(frozen=True)
class Target:
    """A file of a seed that is mutated."""

    reader: str
    seed: str
    file: str  # path in the seed's folder

    def __str__(self) -> str:
        return f"{self.reader}/{self.seed}/{self.file}"


@dataclasses.dataclass
class Verdict:
    """What a reader did with an input.

    Attributes
    ----------
    kind : str
        "read", "refused", or what is wrong.
    what : str
        The same of all inputs with one cause: an exception and where it was raised, a signal.
    message : str
    seconds : float
        Of the processor.
    bytes : int
        The most memory in use, above that before.
    """

    kind: str
    what: str = ""
    message: str = ""
    seconds: float = 0
    bytes: int = 0

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("read", "refused")


class Corpus:
    """The seeds of a reader, in memory."""

    def __init__(self, name: str) -> None:
        self.reader: Reader = READERS[name]
        self.files: dict[str, dict[str, bytes]] = {}
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder) / "seeds"
            with _quiet():
                self.reader.write_seeds(root)
            for seed in sorted(root.iterdir()):
                self.files[seed.name] = {
                    path.relative_to(seed).as_posix(): path.read_bytes()
                    for path in sorted(seed.rglob("*"))
                    if path.is_file()
                }
        self.targets = [
            Target(name, seed, file)
            for seed, contents in self.files.items()
            for file in contents
            if any(fnmatch.fnmatch(file, f"*{pattern}") for pattern in self.reader.targets)
        ]
        assert self.targets, name

    def data(self, target: Target) -> bytes:
        """The valid content of a target."""
        return self.files[target.seed][target.file]

    def mutated(self, target: Target, seed: str) -> bytes:
        """A mutated content, which follows from the seed."""
        others = [self.data(other) for other in self.targets if other.seed != target.seed]
        return mutations.mutate(target.file, self.data(target), random.Random(seed), others)

    def write(self, target: Target, data: bytes, folder: pathlib.Path) -> None:
        """Write the seed with another content of the target into a new folder."""
        for name, content in self.files[target.seed].items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if name == target.file else content)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence libraries that write to the standard output and error of the process."""
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        for file, number in zip(kept, (1, 2)):
            os.dup2(file, number)
            os.close(file)


def run(corpus: Corpus, target: Target, data: bytes, worker: "Worker | None") -> Verdict:
    """Judge one input; ``worker`` is None for the program caffe."""
    with tempfile.TemporaryDirectory(prefix="dnnh-fuzz-", dir=FOLDER) as name:
        folder = pathlib.Path(name) / "folder"
        temporary = pathlib.Path(name) / "tmp"
        temporary.mkdir()
        corpus.write(target, data, folder)
        before = _listing(folder)
        if worker is None:
            verdict = _run_caffe(corpus.reader, folder, target)
        else:
            verdict = worker.read(folder, target, temporary)
        if verdict.is_finding:
            return verdict
        after = {**_listing(folder), **_listing(temporary)}
        changed = sorted(
            path
            for path in before.keys() | after.keys()
            if before.get(path) != after.get(path)
            and not fnmatch.fnmatch(path, corpus.reader.may_change)
        )
        if changed:
            return dataclasses.replace(verdict, kind="leftover", what=f"leaves {changed}"[:200])
    return verdict


def _quiet_caffe() -> None:
    """Log errors alone, if Caffe was loaded before by somebody who wanted more."""
    if "caffe" in sys.modules:
        glog = ctypes.CDLL("libglog.so.1")  # the one that is loaded
        ctypes.c_int.in_dll(glog, "_ZN3fLI17FLAGS_minloglevelE").value = 2


def _listing(folder: pathlib.Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size if path.is_file() else -1
        for path in folder.rglob("*")
    }


# --- a reader in a process of its own --------------------------------------------------------


class Worker:
    """A forked process that reads inputs, one after the other; a new one after each that ends.

    A context manager.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._process = 0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        # What is printed after it was truncated stands at its start.
        fcntl.fcntl(self._stderr, fcntl.F_SETFL, os.O_APPEND)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._stderr.close()

    def read(self, folder: pathlib.Path, target: Target, temporary: pathlib.Path) -> Verdict:
        """Let the process read an input; a finding if it ends or does not answer."""
        if not self._process:
            self._start()
        self._stderr.truncate(0)
        os.write(self._to, f"{json.dumps([str(folder), target.file, str(temporary)])}\n".encode())
        answer = b""
        deadline = time.monotonic() + WAITING_SECONDS
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                self.stop()
                return Verdict("hang", f"waits for more than {WAITING_SECONDS} s")
            part = os.read(self._from, 1 << 16)
            if not part:
                return self._ended()
            answer += part
        return Verdict(**json.loads(answer))

    def _ended(self) -> Verdict:
        _, status, usage = os.wait4(self._process, 0)
        self._process = 0
        os.close(self._to)
        os.close(self._from)
        self._stderr.seek(0)
        message = self._stderr.read().decode(errors="replace")[-1000:]
        number = os.waitstatus_to_exitcode(status)
        if number == -signal.SIGXCPU:
            return Verdict("hang", f"takes more than {SECONDS} s", message, SECONDS)
        name = signal.Signals(-number).name if number < 0 else f"exit status {number}"
        return Verdict("crash", name, message, bytes=usage.ru_maxrss * 1024)

    def stop(self) -> None:
        """End the process."""
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            self._ended()

    def _start(self) -> None:
        task_end, self._to = os.pipe()
        self._from, answer_end = os.pipe()
        sys.stdout.flush()
        self._process = os.fork()
        if self._process:
            os.close(task_end)
            os.close(answer_end)
            return
        try:
            os.close(self._to)
            os.close(self._from)
            self._serve(task_end, answer_end)
        finally:
            os._exit(99)

    def _serve(self, tasks: int, answers: int) -> None:
        """Read inputs until the harness closes the pipe."""
        with open(os.devnull, "w", encoding="utf-8") as null:
            os.dup2(null.fileno(), 1)
        os.dup2(self._stderr.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        faulthandler.disable()  # pytest's own, which would print the crash
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # type: ignore[assignment]
        prepare(self.reader)
        _quiet_caffe()
        with os.fdopen(tasks) as stream:
            for line in stream:
                folder, file, temporary = json.loads(line)
                os.environ["TMPDIR"] = tempfile.tempdir = temporary
                _allow_seconds(SECONDS)
                verdict = judge(self.reader, pathlib.Path(folder), file)
                sys.stderr.flush()
                printed = os.pread(2, 1000, 0).decode(errors="replace")
                if printed.strip() and not verdict.is_finding:
                    first_line = re.sub(r"0x\w+|\d+|/\S+", "#", printed.strip().splitlines()[0])
                    verdict.kind, verdict.what = "stderr", first_line[:150]
                    verdict.message = printed
                answer = json.dumps(dataclasses.asdict(verdict)).encode()
                os.write(answers, answer + b"\n")


def prepare(reader: Reader) -> None:
    """Prepare this process for a reader, with its limit of memory."""
    reader.prepare()
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * resource.getpagesize() + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _allow_seconds(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def judge(reader: Reader, folder: pathlib.Path, file: str) -> Verdict:
    """Let a reader read an input in this process, and say what it did."""
    assert reader.read is not None
    before = _memory()
    _reset_peak()
    start = time.process_time()
    verdict = Verdict("read")
    try:
        reader.read(folder, folder / file)
    except UserError as error:
        verdict = _refusal(error, folder)
    except Exception as error:
        kind = "memory" if isinstance(error, MemoryError) else "exception"
        verdict = Verdict(kind, _cause(error), _text(error))
    verdict.seconds = time.process_time() - start
    verdict.bytes = max(0, _memory("VmHWM") - before)
    # Of a child's peak, what it inherits is not its own.
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 - before
    if not verdict.is_finding and verdict.bytes > BYTES:
        verdict.kind, verdict.what = "memory", f"{verdict.what} takes {verdict.bytes >> 20} MiB"
    elif not verdict.is_finding and children > BYTES:
        verdict.kind, verdict.what = "memory", f"a child takes {children >> 20} MiB"
    return verdict


def _refusal(error: UserError, folder: pathlib.Path) -> Verdict:
    text = str(error)
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    if len(text.splitlines()) != 1:
        return Verdict("message", f"not one line: {_cause(error)}", text[:2000])
    if str(folder) not in text and not text.startswith("/"):  # as a row may name it
        return Verdict("message", f"names no file: {_cause(error)}", text[:2000])
    for cause in causes:
        if isinstance(cause, MemoryError) or NO_MEMORY.search(str(cause)):
            return Verdict("memory", f"refused by the system: {_cause(error)}", text[:2000])
    return Verdict("refused", _cause(error), text[:500])


def _cause(error: BaseException) -> str:
    """The innermost place of ours in a traceback, with the exception of the library."""
    while isinstance(error, UserError) and error.__cause__:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/python/dnnh/" in frame.filename] or list(frames)
    place = ""
    if ours:
        name = ours[-1].filename.rpartition("/python/")[2] or ours[-1].filename
        place = f" at {name}:{ours[-1].lineno}"
    return f"{type(error).__name__}{place}"


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-2000:]


def _memory(name: str = "VmRSS") -> int:
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    match = re.search(rf"{name}:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # a kernel that does not offer it
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


# --- the program caffe -----------------------------------------------------------------------


def _run_caffe(reader: Reader, folder: pathlib.Path, target: Target) -> Verdict:
    states = [path.name for path in folder.glob("state.*")]
    fields = {"target": target.file, "state": states[0] if states else ""}
    command = [str(CAFFE), *(word.format(**fields) for word in reader.arguments)]
    with tempfile.TemporaryFile() as log:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, preexec_fn=_limit_caffe
        )
        try:
            process.wait(WAITING_SECONDS)
            is_waiting = False
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            is_waiting = True
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        log.seek(0)
        text = log.read().decode(errors="replace")
    verdict = Verdict("read", message=text[-1500:])
    verdict.seconds = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    status = process.returncode
    fatal = re.search(r"^F\d{4,8} \S+ +\d+ (\S+?)\] (.*)$", text, re.MULTILINE)
    if is_waiting or status == -signal.SIGXCPU:
        if "Starting Optimization" in text and target.file.endswith(".prototxt"):
            return verdict  # it trains as long as it is told
        verdict.kind, verdict.what = "hang", f"takes more than {SECONDS} s"
    elif status == 0:
        pass
    elif status == -signal.SIGABRT and fatal:
        verdict.kind, verdict.what = "refused", f"{fatal[1]} {fatal[2]}"[:200]
    elif NO_MEMORY.search(text):
        verdict.kind, verdict.what = "memory", _last_place(text)
    else:
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        verdict.kind, verdict.what = "crash", f"{name} {_last_place(text)}"
    return verdict


def _last_place(text: str) -> str:
    """The last place in Caffe that logged something, or what the C++ library said."""
    stop = re.search(r"what\(\):.*|terminate called.*|\*\*\* .*", text)
    places = re.findall(r"^[IWE]\d{4,8} \S+ +\d+ (\S+?)\]", text, re.MULTILINE)
    return f"{stop[0] if stop else ''} after {places[-1] if places else 'nothing'}"[:150]


def _limit_caffe() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (PROGRAM_BYTES, PROGRAM_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# --- many inputs -----------------------------------------------------------------------------


@dataclasses.dataclass
class Report:
    """What a reader did with many inputs.

    Attributes
    ----------
    counts : dict of kind to number of inputs
    findings : list of (Target, bytes, seed of the mutation, Verdict), one for each cause
    seconds, bytes : the most that an input took
    """

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    findings: list[tuple[Target, bytes, str, Verdict]] = dataclasses.field(default_factory=list)
    seconds: float = 0
    bytes: int = 0

    def add(self, target: Target, data: bytes, seed: str, verdict: Verdict) -> bool:
        """Count an input; True if it is the first with its cause."""
        self.counts[verdict.kind] = self.counts.get(verdict.kind, 0) + 1
        self.seconds = max(self.seconds, verdict.seconds)
        self.bytes = max(self.bytes, verdict.bytes)
        cause = verdict.kind, re.sub(r"\d+ MiB", "", verdict.what)
        known = {(other.kind, re.sub(r"\d+ MiB", "", other.what)) for *_, other in self.findings}
        if not verdict.is_finding or cause in known:
            return False
        self.findings.append((target, data, seed, verdict))
        return True

    def merge(self, other: "Report") -> None:
        """Count what another report has, too."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        self.findings += other.findings
        self.seconds = max(self.seconds, other.seconds)
        self.bytes = max(self.bytes, other.bytes)


def fuzz(
    name: str, seconds: float, seed: int, most: int | None = None, on_finding: Any = None
) -> Report:
    """Fuzz a reader: its valid files first, then mutated ones.

    Parameters
    ----------
    name : str
        One of READERS.
    seconds : float
        How long.
    seed : int
        The same inputs follow from it, as many as there is time for.
    most : int, optional
        Inputs, at most.
    on_finding : function of (Target, bytes, seed of the mutation, Verdict), optional
        Called with the first input of each cause.
    """
    corpus, report = Corpus(name), Report()
    with contextlib.ExitStack() as stack:
        worker = None
        if corpus.reader.read is not None:
            worker = stack.enter_context(Worker(corpus.reader))
        for target in corpus.targets:
            verdict = run(corpus, target, corpus.data(target), worker)
            if verdict.kind != "read":
                verdict = dataclasses.replace(verdict, kind="valid file")
            if report.add(target, corpus.data(target), "valid", verdict) and on_finding:
                on_finding(*report.findings[-1])
        end = time.monotonic() + seconds
        rng = random.Random(f"{name} {seed}")
        while time.monotonic() < end and (most is None or sum(report.counts.values()) < most):
            target, mutation = rng.choice(corpus.targets), f"{seed}-{rng.getrandbits(40):010x}"
            data = corpus.mutated(target, mutation)
            verdict = run(corpus, target, data, worker)
            if report.add(target, data, mutation, verdict) and on_finding:
                on_finding(*report.findings[-1])
    return report
