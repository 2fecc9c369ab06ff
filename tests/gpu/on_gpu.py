"""What a GPU shows of a build with CUDA, part by part in the order of their worth.

  python3 on_gpu.py FOLDER OUTPUT               FOLDER is an unpacked bundle of make_bundle.py
  python3 on_gpu.py FOLDER OUTPUT --rehearse    on the CPU, with tiny numbers; no sanitizers

tests/on_gpu.sh unpacks the bundle and runs this. It needs Python with Pillow and PyTorch, and
the libraries of CUDA 13. Each part has a time limit of its own; a part that fails or is not
reached does not stop the others. After each, OUTPUT/gpu.json and gpu.md have the results
so far. OUTPUT also gets the model of the paper's schedule, with what is needed to resume it:
--resume OUTPUT/paper_iter_20000.solverstate goes on from there.
"""

import argparse
import json
import pathlib
import sys
import time

from gpu_parts import STOPPING, Check, Failure

SHORTEST = 15  # seconds, for which a part is begun

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
ONLY_ON_GPU = ("memcheck", "racecheck")


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
            if not isinstance(value, list)
        }
        texts = [f"{key}: {shown(value)}" for key, value in figures.items()]
        text = ", ".join([*filter(None, [part.get("reason")]), *texts])
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
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="(default: all)")
    arguments = parser.parse_args()
    names = arguments.parts or [
        name for name in PARTS if not (arguments.rehearse and name in ONLY_ON_GPU)
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = arguments.output.resolve()
    check = Check(arguments.folder.resolve(), output, arguments)
    results = {
        "rehearsal": arguments.rehearse,
        "parts": {name: {"state": "not reached"} for name in names},
    }
    write(output, results)
    failed = False
    for name in names:
        start = time.monotonic()
        if check.end - STOPPING - start < SHORTEST:
            failed |= name != "paper_schedule"  # which takes what time is left
            break
        check.limit = min(start + PARTS[name], check.end - STOPPING)
        print(f"{name}: {getattr(Check, name).__doc__}", flush=True)
        part = {"state": "done", "result": {}}
        try:
            getattr(check, name)(part["result"])
        except Exception as error:  # whatever it is, the other parts go on
            failed = True
            part["state"] = "failed"
            part["reason"] = (
                str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            )
        part["seconds"] = round(time.monotonic() - start, 1)
        results["parts"][name] = part
        print(f"  {part['state']}, {part['seconds']} s: {part.get('reason', '')}", flush=True)
        write(output, results)
    print(table(results))
    sys.exit(failed)


if __name__ == "__main__":
    main()
