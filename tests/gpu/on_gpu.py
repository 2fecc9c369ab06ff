"""What a GPU shows of a build with CUDA, part by part in the order of their worth.

  python3 on_gpu.py FOLDER OUTPUT               FOLDER is an unpacked bundle of make_bundle.py
  python3 on_gpu.py FOLDER OUTPUT --rehearse    on the CPU, with tiny numbers

tests/on_gpu.sh unpacks the bundle and runs this. It needs Python with Pillow and PyTorch, and
the libraries of CUDA 13. Each part has a time limit of its own; a part that fails or is not
reached takes nothing from the others. After each, OUTPUT/gpu.json and gpu.md have the results
so far. OUTPUT also gets the model of the paper's schedule, with what is needed to resume it:
--resume OUTPUT/paper_iter_20000.solverstate goes on from there.
"""

import argparse
import glob
import hashlib
import io
import json
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

SHORTEST = 15  # seconds, for which a part is begun
TORCH = 50  # seconds for PyTorch at each precision
STOPPING = 20  # seconds for Caffe to write a snapshot when it is interrupted
ITERATION = re.compile(r"Iteration (\d+) \(.*?([\d.]+)s/(\d+) iters\), loss = (\S+)")
LOSS = re.compile(r"Iteration (\d+) .*?loss = (\S+)")


class Failure(Exception):
    """Why a part has no result, in a sentence; what the program had printed."""

    def __init__(self, reason, printed=""):
        super().__init__(reason)
        self.printed = printed


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
        folders += ["/usr/local/cuda/lib64", os.environ.get("LD_LIBRARY_PATH", "")]
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
        """The 5,000 images that the paper's protocol trains on; whether they are as they were."""
        from PIL import Image

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
        self.database("cifar10_train_images_lmdb", [len(records), 3, 32, 32, 0], records)
        return digest.hexdigest() == about["sha256"]

    def solver(self, name, source="cifar10", **changes):
        """A solver of the bundle with other settings; its path."""
        text = (self.folder / "prototxt" / f"{source}_solver.prototxt").read_text()
        changes = {"snapshot_prefix": str(self.work / name), **changes}
        for field, value in changes.items():
            text = re.sub(rf"^{field}:.*\n", "", text, flags=re.MULTILINE)
            text += f"{field}: {json.dumps(value)}\n"
        path = self.work / f"{name}_solver.prototxt"
        path.write_text(text.replace("prototxt/", f"{self.folder}/prototxt/"))
        return path

    def train(self, solver, *words, **settings):
        """The log of `caffe train`; interrupted at the limit, when it writes a snapshot."""
        log = self.work / "training.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [self.folder / "bin/caffe", "train", "-solver", solver, *self.gpu, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.work,
                env={**os.environ, **self._libraries(settings)},
            )
            interrupted = False
            try:
                process.wait(self.left())
            except subprocess.TimeoutExpired:
                interrupted = True
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(STOPPING)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        text = log.read_text(errors="replace")
        if process.returncode:
            raise Failure(f"caffe train ended with {process.returncode}: {last_lines(text)}")
        return text, interrupted

    # --- the parts ---------------------------------------------------------------------

    def machine(self):
        """Which GPU, driver and libraries."""
        import torch

        found = {"python": sys.version.split()[0], "torch": torch.__version__}
        if not self.rehearse:
            query = "name,driver_version,memory.total,clocks.max.sm"
            asked = run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], 20)
            found["gpu"] = asked.strip()
            found["cudnn"] = torch.backends.cudnn.version()
        return found

    def layer_tests(self):
        """The typed tests of our layers."""
        device = "CPU" if self.rehearse else "GPU"
        names = f"*/{device}*-*Bad*:*Errors*:*ResumesExactly*:*AugmentsUntil*"
        printed = self.program(
            "test_layers",
            f"--gtest_filter={names}",
            DNNH_REQUIRE_GPU="1" if not self.rehearse else "",
        )
        passed = re.search(r"PASSED.*?(\d+) test", printed)
        return {"passed": int(passed[1]) if passed else 0}

    def first_losses(self):
        """The first 200 iterations of the paper's schedule, beside the CPU's."""
        count = 3 if self.rehearse else 200
        same_images = self.training_images()
        solver = self.solver("first", max_iter=count, display=1, average_loss=1, snapshot=0)
        text, _ = self.train(solver, DNNH_DETERMINISTIC="1")
        ours = [float(loss) for _, loss in LOSS.findall(text)]
        cpus = json.loads((self.folder / "cpu_losses.json").read_text())
        # Dropout draws other masks on a GPU, so that losses agree on average alone.
        result = {"same_images": same_images, "gpu": ours, "cpu": cpus[: len(ours)]}
        for name, losses in (("gpu", ours), ("cpu", cpus)):
            result[f"{name}_mean"] = statistics.fmean(losses[: len(ours)])
            result[f"{name}_last_50"] = statistics.fmean(losses[: len(ours)][-50:])
        return result

    def step_32(self):
        """Milliseconds of a training step of `dnnh`, 32x32, 64 images, 6,400 triplets."""
        self.training_images()
        return self._steps("dnnh", "cifar10")

    def step_256(self):
        """Milliseconds of a training step of the net of 256x256 images, 64 of them."""
        self._random_images()
        return self._steps("nuswide", "nuswide")

    def _random_images(self):
        classes, size, count = 21, 256, 128
        records = (
            (i % classes).to_bytes(4, "little") + os.urandom(3 * size * size) for i in range(count)
        )
        self.database("nuswide_train_images_lmdb", [count, 3, size, size, classes], records)

    def _steps(self, net, source):
        """Ours and PyTorch's with cuDNN, in float32 and in TF32."""
        result = {}
        for precision in ("float32", "tf32"):
            tf32 = precision == "tf32"
            result[f"ours_{precision}"] = self._our_step(source, DNNH_TF32=str(int(tf32)))
            if self.rehearse and (tf32 or net == "nuswide"):
                continue
            result[f"torch_{precision}"] = self._torch_step(net, tf32)
        return result

    def _torch_step(self, net, tf32):
        """As many of PyTorch's figures as there is time for: compiling may take long."""
        steps = 1 if self.rehearse else 200
        words = [sys.executable, self.folder / "torch_net.py", self.folder / "nets.json", net]
        words += ["--images", 64, "--triplets", 6400, "--steps", steps]
        words += ["--device", "cpu"] if self.rehearse else []
        words += ["--tf32"] if tf32 else []
        settings = {"OMP_NUM_THREADS": "2"} if self.rehearse else {}
        try:
            printed = run(words, min(self.left(), TORCH), settings)
        except Failure as error:
            printed = error.printed
            if not printed:
                raise
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        return {line["name"]: line["milliseconds"] for line in lines}

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
        return statistics.median(times[1:])

    def encoding(self):
        """Images per second, and how many bits differ from the CPU's codes."""
        self.training_images()
        result = {}
        trained = sorted(self.work.glob("first_iter_*.caffemodel"))
        for net, weights in (("dnnh", trained[-1] if trained else "-"), ("dnnh_plus", "-")):
            deploy = self.folder / "prototxt" / f"{net}_deploy.prototxt"
            codes = {}
            devices = (0, -1) if weights != "-" else (0,)  # untrained, bits say nothing
            for device in (-1,) if self.rehearse else devices:
                seconds = "0.1" if self.rehearse or device < 0 else "5"
                file = self.work / f"{net}_{device}.codes"
                words = [
                    "encode",
                    deploy,
                    weights,
                    self.work / "data/cifar10_train_images_lmdb",
                    device,
                ]
                printed = self.program("gpu_check", *words, seconds, file)
                if device >= 0 or self.rehearse:
                    result[net] = json.loads(printed)["images_per_second"]
                codes[device] = file.read_bytes()
            if len(codes) == 2:
                differ = sum(a != b for a, b in zip(codes[0], codes[-1], strict=True))
                result[f"{net}_bits"], result[f"{net}_bits_that_differ"] = len(codes[0]), differ
        return result

    def paper_schedule(self):
        """`caffe train` of the paper's schedule, 70,000 iterations at 48 bits."""
        self.training_images()
        changes = {"snapshot_prefix": str(self.output / "paper"), "snapshot": 10000}
        if self.rehearse:
            changes |= {"max_iter": 2, "display": 1, "snapshot": 0}
        words = ["-snapshot", self.resume.resolve()] if self.resume else []
        start = time.monotonic()
        text, interrupted = self.train(self.solver("paper", **changes), *words)
        shutil.copy(self.work / "training.log", self.output / "paper.log")
        models = sorted(self.output.glob("paper_iter_*.caffemodel"), key=iteration_of)
        for old in models[:-1]:  # the last is enough
            old.unlink()
            old.with_suffix(".solverstate").unlink(missing_ok=True)
        losses = [(int(i), float(loss)) for i, _, _, loss in ITERATION.findall(text)]
        return {
            "iterations": iteration_of(models[-1]) if models else 0,
            "interrupted": interrupted,
            "training_seconds": round(time.monotonic() - start, 1),
            "model": models[-1].name if models else None,
            "loss": losses[:: max(1, len(losses) // 100)],
        }

    def memcheck(self):
        """compute-sanitizer's memcheck over the tests of our kernels."""
        return self._sanitizer("memcheck")

    def racecheck(self):
        """compute-sanitizer's racecheck over the tests of our kernels."""
        return self._sanitizer("racecheck")

    def _sanitizer(self, tool):
        if self.rehearse:
            raise Failure("compute-sanitizer needs a GPU")
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        tests = self.folder / "bin/test_layers"
        words = [
            sanitizer,
            "--tool",
            tool,
            "--error-exitcode",
            9,
            tests,
            "--gtest_filter=GpuLayersTest/*",
        ]
        settings = self._libraries({"DNNH_REQUIRE_GPU": "1"})
        printed = run(words, self.left(), settings, self.work)
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", printed)
        if not summary:
            raise Failure(f"{tool} has no summary: {last_lines(printed)}")
        return {"summary": summary[-1]}


# In the order of their worth, each with its limit in seconds.
PARTS = {
    "machine": 40,
    "layer_tests": 90,
    "first_losses": 60,
    "step_32": 120,
    "encoding": 90,
    "step_256": 120,
    "memcheck": 60,
    "racecheck": 60,
    "paper_schedule": 3600,
}


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
        raise Failure(f"{name} ended with {done.returncode}: {last_lines(text)}")
    return text


def last_lines(text):
    """Why a program ended: what Caffe calls fatal, otherwise its last lines."""
    lines = text.strip().splitlines()
    return " | ".join(re.findall(r"^F\d+ .*", text, re.MULTILINE)[:1] or lines[-6:])[-1500:]


def iteration_of(path):
    return int(re.findall(r"\d+", path.name)[-1])


def write(output, results):
    """gpu.json and gpu.md, whole at any time."""
    for name, text in (("gpu.json", json.dumps(results, indent=1)), ("gpu.md", table(results))):
        partial = output / f"{name}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(output / name)


def table(results):
    lines = ["| part | state | seconds | result |", "|---|---|---|---|"]
    for name, part in results["parts"].items():
        figures = {
            key: value
            for key, value in part.get("result", {}).items()
            if key not in ("gpu", "cpu", "loss") or isinstance(value, str)
        }
        text = part.get("reason") or ", ".join(
            f"{key}: {shown(value)}" for key, value in figures.items()
        )
        lines.append(
            f"| {name} | {part['state']} | {part.get('seconds', '')} | {text.replace('|', '/')} |"
        )
    return "\n".join(lines)


def shown(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "; ".join(f"{key} {shown(inner)}" for key, inner in value.items())
    return str(value)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=720, help="in all (default: 720)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny numbers")
    parser.add_argument("--resume", type=pathlib.Path, help="a solver state of the long training")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = arguments.output.resolve()
    check = Check(arguments.folder.resolve(), output, arguments)
    results = {
        "rehearsal": arguments.rehearse,
        "parts": {name: {"state": "not reached"} for name in arguments.parts},
    }
    write(output, results)
    failed = False
    for name in arguments.parts:
        start = time.monotonic()
        if check.end - start < SHORTEST:
            break
        check.limit = min(start + PARTS[name], check.end - STOPPING)
        print(f"{name}: {getattr(Check, name).__doc__}", flush=True)
        try:
            part = {"state": "done", "result": getattr(check, name)()}
        except Exception as error:  # whatever it is, the other parts go on
            failed = True
            reason = (
                str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            )
            part = {"state": "failed", "reason": reason}
        part["seconds"] = round(time.monotonic() - start, 1)
        results["parts"][name] = part
        print(f"  {part['state']}, {part['seconds']} s: {part.get('reason', '')}", flush=True)
        write(output, results)
    print(table(results))
    sys.exit(failed)


if __name__ == "__main__":
    main()
