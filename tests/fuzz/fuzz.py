"""Fuzz the readers of the package and the program caffe.

  python tests/fuzz/fuzz.py                              all readers, 2 minutes each
  python tests/fuzz/fuzz.py codes index --seconds 600    some
  python tests/fuzz/fuzz.py --replay tests/fuzz/findings/codes~single~codes.h5~0-1f
  python tests/fuzz/fuzz.py --list

Inputs with a finding are saved to tests/fuzz/findings/, each with its command.
"""

import argparse
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import fuzz_harness

from readers import READERS

FINDINGS = pathlib.Path(__file__).resolve().parent / "findings"
GUIDED = str(FINDINGS.with_name("guided.py"))
FIELDS = "~"  # between reader, seed, file and mutation in the name of a finding


def save(
    target: fuzz_harness.Target, data: bytes, mutation: str, verdict: fuzz_harness.Verdict
) -> pathlib.Path:
    """Save an input with a finding, and print how to see it again."""
    FINDINGS.mkdir(exist_ok=True)
    file = target.file.replace("/", "@")
    path = FINDINGS / FIELDS.join((target.reader, target.seed, file, mutation))
    path.write_bytes(data)
    print(f"{target}, mutation {mutation}: {verdict.kind}: {verdict.what}")
    print(f"  python tests/fuzz/fuzz.py --replay {os.path.relpath(path)}", flush=True)
    return path


def replay(path: pathlib.Path) -> fuzz_harness.Verdict:
    """Run the reader of a saved input on it."""
    name, seed, file, _ = path.name.split(FIELDS)
    target = fuzz_harness.Target(name, seed, file.replace("@", "/"))
    corpus = fuzz_harness.Corpus(name)
    data = path.read_bytes()
    if corpus.reader.read is None:
        return fuzz_harness.run(corpus, target, data, None)
    with fuzz_harness.Worker(corpus.reader) as worker:
        return fuzz_harness.run(corpus, target, data, worker)


def fuzz_guided(name: str, seconds: float, seed: int) -> fuzz_harness.Report:
    """Fuzz a reader with atheris; what it finds is judged by the whole fuzz_harness."""
    report = fuzz_harness.Report()
    with tempfile.TemporaryDirectory(prefix="dnnh-guided-") as folder:
        end = time.monotonic() + seconds
        runs = 0
        while (left := int(end - time.monotonic())) > 0:
            command = [sys.executable, GUIDED, name, folder, str(left), str(seed + runs)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            executed = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
            runs += int(executed[-1]) if executed else 1
            if "libFuzzer" not in done.stderr and "INFO: seed corpus" not in done.stderr:
                sys.exit(f"error: {done.stderr[-2000:]}")
        corpus = fuzz_harness.Corpus(name)
        with fuzz_harness.Worker(corpus.reader) as worker:
            for path in sorted(pathlib.Path(folder).iterdir()):
                data = path.read_bytes()
                target = corpus.targets[data[0] % len(corpus.targets) if data else 0]
                verdict = fuzz_harness.run(corpus, target, data[1:], worker)
                if report.add(target, data[1:], path.name[-16:], verdict):
                    save(*report.findings[-1])
    report.counts["guided"] = runs
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers of the package.")
    parser.add_argument("readers", nargs="*", help="readers (default: all)")
    parser.add_argument("--seconds", type=float, default=120, help="for each reader")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations")
    parser.add_argument("--replay", type=pathlib.Path, metavar="INPUT", help="a saved input")
    parser.add_argument("--list", action="store_true", help="print the readers")
    parser.add_argument("--mutate", action="store_true", help="mutations alone, without atheris")
    args = parser.parse_args()
    if args.list:
        print("\n".join(READERS))
        return
    if args.replay:
        verdict = replay(args.replay)
        print(f"{verdict.kind}: {verdict.what}\n{verdict.message}")
        sys.exit(int(verdict.is_finding))
    if unknown := set(args.readers) - set(READERS):
        parser.error(f"unknown readers: {', '.join(sorted(unknown))}; --list prints them")
    has_atheris = not args.mutate and importlib.util.find_spec("atheris") is not None
    print(
        f"seed {args.seed}, {'half of the time with atheris' if has_atheris else 'mutation alone'}"
    )
    findings = 0
    for name in args.readers or READERS:
        if has_atheris and READERS[name].read is not None:
            half = args.seconds / 2
            report = fuzz_harness.fuzz(name, half, args.seed, on_finding=save)
            report.merge(fuzz_guided(name, half, args.seed))
        else:
            report = fuzz_harness.fuzz(name, args.seconds, args.seed, on_finding=save)
        findings += len(report.findings)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))
        print(
            f"{name}: {counts}; at most {report.seconds:.2f} s, {report.bytes >> 20} MiB",
            flush=True,
        )
    sys.exit(int(findings > 0))


if __name__ == "__main__":
    main()
