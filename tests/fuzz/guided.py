"""Coverage-guided fuzzing of one reader with atheris, in a process of its own; fuzz.py starts it.

  python tests/fuzz/guided.py READER CORPUS SECONDS SEED

An input of libFuzzer is a byte, which target it is for, and the content of that. Inputs that
reach new lines of Python go to the folder CORPUS, as do those with a finding. fuzz.py lets the
whole harness judge them.
"""

import hashlib
import os
import pathlib
import random
import sys
import tempfile

import atheris

# What is read in Python, and not in C.
with atheris.instrument_imports(
    include=["dnnh", "PIL", "tarfile", "zipfile", "pickletools", "csv", "google.protobuf", "h5py"]
):
    import fuzz_harness

    import mutations


def main() -> None:
    name, corpus_folder, seconds, seed = sys.argv[1:]
    corpus = fuzz_harness.Corpus(name)
    folder = pathlib.Path(corpus_folder)
    known: set[str] = set()
    for number, target in enumerate(corpus.targets):
        (folder / f"seed-{number}").write_bytes(bytes([number % 256]) + corpus.data(target))

    def read(data: bytes) -> None:
        target = corpus.targets[data[0] % len(corpus.targets) if data else 0]
        with tempfile.TemporaryDirectory(dir=fuzz_harness.FOLDER) as temporary:
            place = pathlib.Path(temporary) / "folder"
            corpus.write(target, data[1:], place)
            verdict = fuzz_harness.judge(corpus.reader, place, target.file)
        if verdict.is_finding and verdict.what not in known:
            known.add(verdict.what)
            (folder / f"finding-{hashlib.sha1(data).hexdigest()}").write_bytes(data)

    def change(data: bytes, most: int, number: int) -> bytes:
        """Ours or libFuzzer's mutation; the target stays."""
        target = corpus.targets[data[0] % len(corpus.targets) if data else 0]
        rng = random.Random(number)
        if rng.random() < 0.5:
            return data[:1] + atheris.Mutate(data[1:], most - 1)
        others = [corpus.data(other) for other in corpus.targets]
        return (data[:1] + mutations.mutate(target.file, data[1:], rng, others))[:most]

    fuzz_harness.prepare(corpus.reader)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-timeout={fuzz_harness.SECONDS}",
        f"-max_len={mutations.MOST_BYTES}",
        f"-artifact_prefix={corpus_folder}/crash-",
        "-rss_limit_mb=8000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, corpus_folder], read, custom_mutator=change)
    os.environ["TMPDIR"] = str(fuzz_harness.FOLDER or tempfile.gettempdir())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
