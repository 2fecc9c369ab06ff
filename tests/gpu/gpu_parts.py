"""The parts of on_gpu.py: what each runs, and what it makes of it."""

import glob
import hashlib
import io
import json
import math
import os
import pathlib
import re
import shutil
import signal
import site
import statistics
import subprocess
import sys
import tarfile
import time

TORCH = 50  # seconds for PyTorch at each precision
STOPPING = 20  # seconds for Caffe to write a snapshot when it is interrupted
FIRST = 200  # iterations whose losses are compared
ITERATION = re.compile(r"Iteration (\d+) \(.*?([\d.]+)s/(\d+) iters\), loss = (\S+)")


class Failure(Exception):
    """Why a part has no result, in a sentence; what the program had printed."""

    def __init__(self, reason, printed=""):
        super().__init__(reason)
        self.printed = printed


def edited(solver, **settings):
    """The text of a solver prototxt with other settings."""
    for field, value in settings.items():
        solver = re.sub(rf"^{field}:.*\n", "", solver, flags=re.MULTILINE)
        solver += f"{field}: {json.dumps(value)}\n"
    return solver


def losses(log):
    """The losses that a log of `caffe train` has, in the order of the iterations."""
    return [float(loss) for loss in re.findall(r"Iteration \d+ .*?loss = (\S+)", log)]


class Check:
    """The parts, and what they share.

    Parameters
    ----------
    folder, output : pathlib.Path
    arguments : argparse.Namespace
    """

    def __init__(self, folder, output, arguments):
        self.folder, self.output, self.rehearse = folder, output, arguments.rehearse
        self.resume = arguments.resume
        self.end = time.monotonic() + arguments.seconds
        self.limit = 0.0  # of the part that runs, on the clock
        self.gpu = [] if self.rehearse else ["-gpu", "0"]
        self.work = folder / "work"
        self.work.mkdir()

    def left(self):
        return max(0.0, min(self.end, self.limit) - time.monotonic())

    def program(self, *words, **settings):
        """What a program of the bundle prints; ends at the limit of the part."""
        return run(
            [self.folder / "bin" / words[0], *words[1:]],
            self.left(),
            self._libraries(settings),
            self.work,
        )

    def _libraries(self, settings):
        folders = [
            place
            for packages in [*site.getsitepackages(), *sys.path]
            for place in glob.glob(f"{packages}/nvidia/*/lib")
        ]
        folders += [
            "/usr/local/cuda/lib64",
            "/usr/local/nvidia/lib64",
            os.environ.get("LD_LIBRARY_PATH", ""),
        ]
        path = ":".join(dict.fromkeys([str(self.folder / "lib"), *filter(None, folders)]))
        return {"LD_LIBRARY_PATH": path, **settings}

    # --- what parts use ---------------------------------------------------------------

    def database(self, name, header, records):
        """An LMDB of images in the folder where Caffe runs."""
        place = self.work / "data" / name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            raw = self.work / "records"
            with raw.open("wb") as file:
                file.write((" ".join(map(str, header)) + "\n").encode())
                file.writelines(records)
            with raw.open("rb") as file:
                run(
                    [self.folder / "bin/gpu_check", "database", place],
                    self.left(),
                    self._libraries({}),
                    self.work,
                    file,
                )
            raw.unlink()
        return place

    def training_images(self):
        """The 5,000 images that the paper's protocol trains on, as an LMDB."""
        from PIL import Image

        if (self.work / "data/cifar10_train_images_lmdb").exists():
            return
        about = json.loads((self.folder / "images.json").read_text())
        digest, records = hashlib.sha256(), []
        with tarfile.open(self.folder / "images.tar") as archive:
            for entry, label in zip(archive, about["labels"], strict=True):
                jpeg = archive.extractfile(entry)
                assert jpeg
                image = Image.open(io.BytesIO(jpeg.read())).convert("RGB")
                planes = b"".join(band.tobytes() for band in image.split())
                digest.update(planes)
                records.append(label.to_bytes(4, "little") + planes)
        if digest.hexdigest() != about["sha256"]:
            raise Failure(
                "Pillow decodes the JPEG files to other pixels here than on the CPU's machine"
            )
        self.database("cifar10_train_images_lmdb", [len(records), 3, 32, 32, 0], records)

    def solver(self, name, source="cifar10", **changes):
        """A solver of the bundle with other settings; its path."""
        text = (self.folder / "prototxt" / f"{source}_solver.prototxt").read_text()
        # Relative, as a snapshot has the name of its model: the folder may be moved.
        text = edited(text, **{"snapshot_prefix": name, **changes})
        path = self.work / f"{name}_solver.prototxt"
        path.write_text(text.replace("prototxt/", f"{self.folder}/prototxt/"))
        return path

    def train(self, solver, *words, meanwhile=lambda: None, **settings):
        """The log of `caffe train`; interrupted at the limit, when it writes a snapshot.

        ``meanwhile`` is called every second.
        """
        log = self.work / "training.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [self.folder / "bin/caffe", "train", "-solver", solver, *self.gpu, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.work,
                env={**os.environ, **self._libraries(settings)},
            )
            while process.poll() is None and self.left() > 0:
                meanwhile()
                time.sleep(min(1, self.left()))
            interrupted = process.poll() is None
            if interrupted:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(STOPPING)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        text = log.read_text(errors="replace")
        # A process may fail while it ends, after all was done.
        if process.returncode and not re.search(r"Optimization (Done|stopped early)", text):
            raise Failure(f"caffe train ended with {process.returncode}: {last_lines(text)}")
        return text, interrupted

    # --- the parts ---------------------------------------------------------------------

    # Each part puts its figures into `result`, and raises Failure where they are wrong.

    def machine(self, result):
        """Which GPU, driver and libraries."""
        import torch

        result["python"] = sys.version.split()[0]
        result["torch"] = torch.__version__
        if not self.rehearse:
            query = "name,driver_version,memory.total,clocks.max.sm"
            asked = run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], 20)
            result["gpu"] = asked.strip()
            result["cudnn"] = torch.backends.cudnn.version()

    def layer_tests(self, result):
        """The typed tests of our layers."""
        device = "CPU" if self.rehearse else "GPU"
        # Death tests fork, which a GPU does not survive; warped images are not in a minimal build.
        skipped = "*Bad*:*Errors*:*WhatCannotBe*:*AugmentsUntil*"
        settings = {} if self.rehearse else {"DNNH_REQUIRE_GPU": "1"}
        try:
            words = ["test_layers", f"--gtest_filter=*/{device}*-{skipped}"]
            printed = self.program(*words, **settings)
        except Failure as error:  # a process may fail while it ends, after all tests passed
            printed = error.printed
            if "[  FAILED  ]" in printed or "[  PASSED  ]" not in printed:
                raise
            result["note"] = str(error)
        passed = re.search(r"\[  PASSED  \] (\d+) test", printed)
        result["passed"] = int(passed[1]) if passed else 0
        if not result["passed"]:
            raise Failure(f"no test ran: {last_lines(printed)}")

    def first_losses(self, result):
        """The first 200 iterations of the paper's schedule, beside the CPU's."""
        count = 3 if self.rehearse else FIRST
        self.training_images()
        solver = self.solver("first", max_iter=count, display=1, average_loss=1, snapshot=0)
        ours = losses(self.train(solver, DNNH_DETERMINISTIC="1")[0])
        cpus = json.loads((self.folder / "cpu_losses.json").read_text())[: len(ours)]
        result.update(gpu=ours, cpu=cpus)
        if len(ours) < count or not all(map(math.isfinite, ours)):
            raise Failure(f"{len(ours)} losses of {count}, finite or not: {ours[-3:]}")
        # Dropout draws other masks on a GPU: losses agree on average alone.
        for name, curve in (("gpu", ours), ("cpu", cpus)):
            result[f"{name}_mean"] = statistics.fmean(curve)
            result[f"{name}_last_50"] = statistics.fmean(curve[-50:])
        if not self.rehearse and abs(result["gpu_last_50"] / result["cpu_last_50"] - 1) > 0.1:
            raise Failure("the mean of the last 50 losses differs from the CPU's by over 10 %")

    def step_32(self, result):
        """Milliseconds of a training step of `dnnh`, 32x32, 64 images, 6,400 triplets."""
        self.training_images()
        self._steps("dnnh", "cifar10", result)

    def step_256(self, result):
        """Milliseconds of a training step of the net of 256x256 images, on 64 crops of 224x224."""
        self._random_images()
        self._steps("nuswide", "nuswide", result)

    def _random_images(self):
        classes, size, count = 21, 256, 128
        records = (
            (i % classes).to_bytes(4, "little") + os.urandom(3 * size * size) for i in range(count)
        )
        self.database("nuswide_train_images_lmdb", [count, 3, size, size, classes], records)

    def _steps(self, net, source, result):
        """Ours and PyTorch's with cuDNN, in float32 and in TF32."""
        for precision, tf32 in (("float32", "0"), ("tf32", "1")):
            result[f"ours_{precision}"] = self._our_step(source, DNNH_TF32=tf32)
        if self.rehearse and net == "nuswide":
            return  # minutes on a CPU
        for precision in ("float32",) if self.rehearse else ("float32", "tf32"):
            result[f"torch_{precision}"] = self._torch_step(net, precision == "tf32")

    def _torch_step(self, net, tf32):
        """As many of PyTorch's figures as there is time for: compiling may take long."""
        steps = 1 if self.rehearse else 200
        words = [sys.executable, self.folder / "torch_net.py", self.folder / "nets.json", net]
        words += ["--images", 64, "--triplets", 6400, "--steps", steps]
        words += ["--device", "cpu"] if self.rehearse else []
        words += ["--tf32"] if tf32 else []
        settings = {"OMP_NUM_THREADS": "2"} if self.rehearse else {}
        failure = None
        try:
            printed = run(words, min(self.left(), TORCH), settings)
        except Failure as error:
            failure, printed = error, error.printed
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        if failure and not lines:
            raise failure
        times = {line["name"]: line["milliseconds"] for line in lines}
        return times | ({"incomplete": str(failure)} if failure else {})

    def _our_step(self, source, **settings):
        """From the log of `caffe train`, which has the time of each 50 iterations."""
        display = 1 if self.rehearse else 50
        count = 3 if self.rehearse else 501
        solver = self.solver(
            "steps", source, max_iter=count, display=display, snapshot=0, snapshot_after_train=False
        )
        text, _ = self.train(solver, **settings)
        times = [1000 * float(s) / int(n) for _, s, n, _ in ITERATION.findall(text) if int(n)]
        if len(times) < 2:
            raise Failure(f"the log has no times: {last_lines(text)}")
        return statistics.fmean(times[1:])

    def encoding(self, result):
        """Images per second, and how many bits differ from the CPU's codes."""
        self.training_images()
        trained = sorted(self.work.glob("first_iter_*.caffemodel"))
        nets = {"dnnh": trained[-1] if trained else "-", "dnnh_plus": "-"}
        gpu, seconds = (-1, "0.1") if self.rehearse else (0, "5")
        codes = {}
        for net, weights in nets.items():
            result[net], codes[net] = self._encode(net, weights, gpu, seconds)
        if self.rehearse:
            return  # without an iteration, bits say nothing
        if not trained:
            raise Failure("there is no trained net whose codes could be compared")
        _, of_cpu = self._encode("dnnh", trained[-1], -1, "0.1")
        differ = sum(a != b for a, b in zip(codes["dnnh"], of_cpu, strict=True))
        result["bits"], result["bits_that_differ"] = len(of_cpu), differ
        if differ > len(of_cpu) / 1000:
            raise Failure(f"{differ:,} of {len(of_cpu):,} bits differ from the CPU's")

    def _encode(self, net, weights, device, seconds):
        """Images per second, and the codes, a byte per bit."""
        deploy = self.folder / "prototxt" / f"{net}_deploy.prototxt"
        database = self.work / "data/cifar10_train_images_lmdb"
        file = self.work / "codes"
        words = ["encode", deploy, weights, database, device, seconds, file]
        printed = self.program("gpu_check", *words)
        # Libraries may have printed something before.
        figures = json.loads(printed.strip().splitlines()[-1])
        return figures["images_per_second"], file.read_bytes()

    def paper_schedule(self, result):
        """`caffe train` of the paper's schedule, 70,000 iterations at 48 bits."""
        self.training_images()
        words, changes = [], {"snapshot": 10000}
        if self.rehearse:
            changes = {"max_iter": 2, "display": 1, "snapshot": 0}
        if self.resume:
            for state in (self.resume, self.resume.with_suffix(".caffemodel")):
                shutil.copy(state, self.work)
            words = ["-snapshot", self.resume.name]
        start = time.monotonic()
        solver = self.solver("paper", **changes)
        log, result["interrupted"] = self.train(solver, *words, meanwhile=self._keep_newest)
        result["training_seconds"] = round(time.monotonic() - start, 1)
        last = self._keep_newest()
        if not last:
            raise Failure(f"there is no snapshot: {last_lines(log)}")
        result["iterations"], result["model"] = iteration_of(last), last.name
        curve = [(int(i), float(loss)) for i, _, _, loss in ITERATION.findall(log)]
        result["loss"] = curve[:: max(1, len(curve) // 100)]

    def _keep_newest(self):
        """The newest snapshot, which OUTPUT gets with the log, in place of the one before."""
        shutil.copy(self.work / "training.log", self.output / "paper.log")
        states = sorted(self.work.glob("paper_iter_*.solverstate"), key=iteration_of)
        if not states:  # the state is written after its model
            return None
        newest = states[-1].with_suffix(".caffemodel")
        for file in (newest, states[-1]):
            if not (self.output / file.name).exists():
                shutil.copy(file, self.output)
        for old in self.output.glob("paper_iter_*"):
            if iteration_of(old) < iteration_of(newest):
                old.unlink()
        return newest

    def memcheck(self, result):
        """compute-sanitizer's memcheck over the tests of our kernels."""
        self._sanitizer("memcheck", result)

    def racecheck(self, result):
        """compute-sanitizer's racecheck over the tests of our kernels."""
        self._sanitizer("racecheck", result)

    def _sanitizer(self, tool, result):
        if self.rehearse:
            raise Failure("compute-sanitizer needs a GPU")
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        tests = self.folder / "bin/test_layers"
        words = [
            sanitizer,
            "--tool",
            tool,
            "--report-api-errors",
            "no",
            "--error-exitcode",
            9,
            tests,
            "--gtest_filter=GpuLayersTest/*",
        ]
        settings = self._libraries({"DNNH_REQUIRE_GPU": "1"})
        printed = run(words, self.left(), settings, self.work)
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", printed)
        if not summary or not re.search(r"\[  PASSED  \] [1-9]", printed):
            raise Failure(f"{tool} has no summary, or no test ran: {last_lines(printed)}")
        result["summary"] = summary[-1]


def run(words, seconds, settings=None, folder=None, stdin=None):
    """What a program prints; Failure where it fails or takes longer."""
    if seconds <= 0:
        raise Failure("there was no time left")
    words = [str(word) for word in words]
    name = pathlib.Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(settings or {})},
            cwd=folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode(errors="replace")
        reason = f"{name} took more than {seconds:.0f} s: {last_lines(printed)}"
        raise Failure(reason, printed) from error
    except OSError as error:
        raise Failure(f"{name} cannot be run ({error})") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Failure(f"{name} ended with {done.returncode}: {last_lines(text)}", text)
    return text


def last_lines(text):
    """Why a program ended: what Caffe calls fatal, otherwise its last lines."""
    lines = text.strip().splitlines()
    return " | ".join(re.findall(r"^F\d+ .*", text, re.MULTILINE)[:1] or lines[-6:])[-1500:]


def iteration_of(path):
    return int(re.findall(r"\d+", path.name)[-1])
