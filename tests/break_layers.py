"""Break each layer in named ways, and require the layer tests to go red.

  python tests/break_layers.py            all of them
  python tests/break_layers.py margin     those with "margin" in the name

A test that passes whatever the layer does protects nothing. Each mutant below is
one edit of a layer's source; it is compiled into a library of its own, which the
test program built by `make` loads instead of the real one. Needs `make` first.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from tqdm import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"

LOSS = "triplet_ranking_loss_layer"
ENCODE = "divide_and_encode_layer"
THRESHOLD = "piecewise_threshold_layer"
MONITOR = "code_monitor_layer"

# name: (layer, file's ending, what stands there, what is put in its place)
MUTANTS = {
    "loss: sign of eq. 3 as printed": (
        LOSS, "hpp", "default: return 2 * (query - negative);",
        "default: return 2 * (negative - query);"),
    "loss: factor 2 forgotten": (
        LOSS, "hpp", "case 0: return 2 * (negative", "case 0: return (negative"),
    "loss: distances swapped": (
        LOSS, "hpp",
        "return to_positive * to_positive - to_negative * to_negative",
        "return to_negative * to_negative - to_positive * to_positive"),
    "loss: margin forgotten": (LOSS, "cpp", "hinge[n] = sum + margin_", "hinge[n] = sum"),
    "loss: loss weight forgotten": (
        LOSS, "cpp", "top[0]->cpu_diff()[0] / num", "Dtype(1) / num"),
    "loss: sum instead of mean": (
        LOSS, "cpp", "mutable_cpu_data()[0] = loss / num", "mutable_cpu_data()[0] = loss"),
    "loss: gradient not divided by the batch": (
        LOSS, "cpp", "top[0]->cpu_diff()[0] / num", "top[0]->cpu_diff()[0]"),
    "loss: gradient at the corner": (
        LOSS, "cpp", "hinge[n] > 0 ? scale", "hinge[n] >= 0 ? scale"),
    "loss: inactive triplets push": (
        LOSS, "cpp", "hinge[n] > 0 ? scale : Dtype(0)", "scale"),
    "loss: propagate_down ignored": (
        LOSS, "cpp", "if (!propagate_down[member]) { continue; }", ""),
    "loss: buffer sized at set-up only": (
        LOSS, "cpp", "hinge_.Reshape(vector<int>(1, bottom[0]->shape(0)));",
        "if (!hinge_.count()) { hinge_.Reshape(vector<int>(1, bottom[0]->shape(0))); }"),
    "encode: off-by-one slice": (
        ENCODE, "hpp", "i * length_ + (i < longer_ ? i : longer_)",
        "i * length_ + (i <= longer_ ? i : longer_ + 1)"),
    "encode: longer slices last": (
        ENCODE, "hpp", "return i * length_ + (i < longer_ ? i : longer_);",
        "return i * length_;"),
    "encode: bias not added": (
        ENCODE, "cpp", "bias ? bias[i] : Dtype(0)", "Dtype(0)"),
    "encode: weight gradient overwritten": (
        ENCODE, "cpp", "weights_diff[j] += x[j]", "weights_diff[j] = x[j]"),
    "encode: bias gradient halved": (
        ENCODE, "cpp", "caffe_axpy(bits_, Dtype(1)", "caffe_axpy(bits_, Dtype(0.5)"),
    "encode: input gradient without weights": (
        ENCODE, "cpp", "x_diff[j] = weights[j] * y_diff[i]", "x_diff[j] = y_diff[i]"),
    "encode: fan-in of all features": (
        ENCODE, "cpp", "Blob<Dtype> slice(vector<int>{1, slices().begin(i + 1) - begin});",
        "Blob<Dtype> slice(vector<int>{1, features_});"),
    "threshold: no gradient at the corner": (
        THRESHOLD, "hpp", "s >= Dtype(0.5) - epsilon", "s > Dtype(0.5) - epsilon"),
    "threshold: corner cut": (
        THRESHOLD, "hpp", "if (s < Dtype(0.5) - epsilon)", "if (s <= Dtype(0.5) - epsilon)"),
    "threshold: never cuts to 1": (
        THRESHOLD, "hpp", "if (s > Dtype(0.5) + epsilon) { return 1; }", ""),
    "threshold: hides NaN": (
        THRESHOLD, "hpp", "  return s;\n}", "  return s == s ? s : Dtype(0);\n}"),
    "loss: hides NaN": (
        LOSS, "cpp", "std::max(hinge[n], Dtype(0))", "std::max(Dtype(0), hinge[n])"),
    "threshold: gradient through the flat pieces": (
        THRESHOLD, "cpp", "PiecewiseInside(g[i], epsilon_) ? top_diff[i] : Dtype(0)",
        "top_diff[i]"),
    "threshold: counts in TEST": (
        THRESHOLD, "cpp", "if (this->phase_ == TRAIN) {", "if (true) {"),
    "threshold: counts every pass": (
        THRESHOLD, "cpp", "if (mark[0] == 0) {", "if (true) {"),
    "threshold: never counts": (
        THRESHOLD, "cpp", "this->blobs_[0]->mutable_cpu_data()[0] += 1;", ""),
    "threshold: mark weighs in clip_gradients": (
        THRESHOLD, "cpp", "mark[0] = std::numeric_limits<Dtype>::min();", "mark[0] = 1;"),
    "threshold: solver may move the count": (
        THRESHOLD, "cpp",
        "mutable_param(0)->set_lr_mult(0);\n"
        "  this->layer_param_.mutable_param(0)->set_decay_mult(0);",
        "mutable_param(0)->set_lr_mult(1);"),
    "threshold: falls one iteration early": (
        THRESHOLD, "cpp", "std::floor(iteration / param",
        "std::floor((iteration + 1) / param"),
    "monitor: 0.5 taken for a one": (
        MONITOR, "cpp", "value > Dtype(0.5)", "value >= Dtype(0.5)"),
    "monitor: codes not told apart": (
        MONITOR, "cpp", "codes.insert(code);", "codes.insert(vector<bool>(bits));"),
    "monitor: ones not counted as clipped": (
        MONITOR, "cpp", "value == 0 || value == 1", "value == 0"),
}


def compile_command(layer):
    """The build's own command for a layer's .cpp, as a list of words."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        if entry["file"].endswith(f"/layers/{layer}.cpp"):
            return shlex.split(entry["command"])
    sys.exit(f"error: {BUILD}/compile_commands.json does not name {layer}.cpp; run make")


def build_mutant(name, folder):
    """A library of the layers with one mutant; returns nothing, fails loudly."""
    layer, ending, original, replacement = MUTANTS[name]
    source = ROOT / "layers" / f"{layer}.{ending}"
    text = source.read_text()
    if text.count(original) != 1:
        sys.exit(f"error: mutant '{name}': {source.name} has {text.count(original)} "
                 f"places that read {original!r}, not one; mend tests/break_layers.py")
    layers = folder / "layers"
    layers.mkdir()
    for path in (ROOT / "layers").glob("*.?pp"):
        mutated = text.replace(original, replacement) if path == source else (
            path.read_text())
        (layers / path.name).write_text(mutated)
    words = compile_command(layer)
    # The copies are found before the originals; -O0 compiles fastest.
    compiled = folder / f"{layer}.o"
    words[words.index("-o") + 1] = str(compiled)
    words[words.index("-c") + 1] = str(layers / f"{layer}.cpp")
    words[1:1] = [f"-I{folder}"]
    subprocess.run([*words, "-O0", "-w"], check=True)
    others = [path for path in BUILD.glob("layers/CMakeFiles/dnnh_layers.dir/*.cpp.o")
              if not path.name.startswith(layer)]
    subprocess.run(
        [words[0], "-shared", "-o", folder / "libdnnh_layers.so",
         "-Wl,-soname,libdnnh_layers.so", compiled, *others,
         f"-L{BUILD}", "-lcaffe"], check=True)


def survives(name):
    """Whether the tests stay green with a mutant: then they are at fault."""
    layer = MUTANTS[name][0]
    tests = "".join(word.capitalize() for word in layer.split("_"))
    tests = tests.removesuffix("Layer") + "*:FeatureSlices*"
    with tempfile.TemporaryDirectory() as folder:
        build_mutant(name, pathlib.Path(folder))
        run = subprocess.run(
            [BUILD / "tests/layers/test_layers", f"--gtest_filter={tests}-*BadInput*"],
            env={**os.environ, "LD_LIBRARY_PATH": folder, "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not re.search(r"Running [1-9]\d* tests? from", run.stdout):
        sys.exit(f"error: mutant '{name}' ran no test:\n{run.stdout[-2000:]}")
    return run.returncode == 0


def main():
    wanted = [name for name in MUTANTS if all(word in name for word in sys.argv[1:])]
    if not (BUILD / "tests/layers/test_layers").exists():
        sys.exit("error: the layer tests are not built; run make")
    alive = [name for name in tqdm(wanted, unit="mutant", desc="breaking layers")
             if survives(name)]
    for name in alive:
        print(f"SURVIVED: {name}")
    print(f"{len(wanted) - len(alive)} passed, {len(alive)} failed")
    sys.exit(bool(alive) or not wanted)


if __name__ == "__main__":
    main()
