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
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
PATIENCE = 60      # seconds; the real layers' tests take a few

LOSS = "triplet_ranking_loss_layer"
BATCH_LOSS = "batch_triplet_loss_layer"
ENCODE = "divide_and_encode_layer"
THRESHOLD = "piecewise_threshold_layer"
MONITOR = "code_monitor_layer"
DATA = "triplet_data_layer"
SAMPLER = "image_sampler"
TRANSFORM = "image_transform"
DATABASE = "image_database"
PREFETCHER = "prefetcher"
ONEDNN = "onednn"
CONVOLUTION = "onednn_convolution_layer"
POOLING = "onednn_pooling_layer"
DROPOUT = "onednn_dropout_layer"
RELU = "onednn_relu_layer"
BATCH_NORM = "onednn_batch_norm_layer"
SCALE = "onednn_scale_layer"

# The tests that must notice.
TESTS = {
    LOSS: "TripletRankingLoss*", BATCH_LOSS: "BatchTripletLoss*",
    ENCODE: "DivideAndEncode*:FeatureSlices*",
    THRESHOLD: "PiecewiseThreshold*", MONITOR: "CodeMonitor*",
    DATA: "TripletData*", SAMPLER: "ImageSampler*", TRANSFORM: "ImageTransform*",
    DATABASE: "ImageTransform*:TripletData*", PREFETCHER: "Prefetcher*",
    **dict.fromkeys((ONEDNN, CONVOLUTION, POOLING, RELU, DROPOUT,
                    BATCH_NORM, SCALE), "Onednn*"),
}

# Whose tests may find out by never coming to an end: threads wait for each other.
MAY_HANG = {PREFETCHER, DATA}

# name: (source, its ending, what stands there, what is put in its place)
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
        LOSS, "cpp", "const bool active = HingeIsActive(hinge[n]);",
        "const bool active = hinge[n] >= 0;"),
    "loss: inactive triplets push": (
        LOSS, "cpp", "const bool active = HingeIsActive(hinge[n]);",
        "const bool active = true;"),
    "loss: NaN pushes nothing": (
        LOSS, "cpp", "const bool active = HingeIsActive(hinge[n]);",
        "const bool active = hinge[n] > 0;"),
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
        LOSS, "cpp", "if (!HingeIsActive(hinge[n])) { continue; }",
        "if (!(hinge[n] > 0)) { continue; }"),
    "threshold: gradient through the flat pieces": (
        THRESHOLD, "cpp", "PiecewiseInside(s[i], epsilon_) ? top_diff[i] : Dtype(0)",
        "top_diff[i]"),
    "threshold: gradient by the output": (
        THRESHOLD, "cpp", "const Dtype* s = bottom[0]->cpu_data();    // or",
        "const Dtype* s = top[0]->cpu_data();    // or"),
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
    "sampler: an image similar to itself": (
        SAMPLER, "cpp", "images[rest] >= query;", "false;"),
    "sampler: shared labels count double": (
        SAMPLER, "cpp", "if (random->Below(Shared(query, drawn)) == 0)", "if (true)"),
    "sampler: dissimilar with a label in common": (
        SAMPLER, "cpp", "Shared(query, triplet[2]) > 0", "Shared(query, triplet[2]) > 1"),
    "sampler: classes with equal chances whatever their size": (
        SAMPLER, "cpp", "rest -= members(classes[i++]) - 1;", "rest = 0; ++i;"),
    "sampler: an image twice": (
        SAMPLER, "cpp", "is_new ? drawn : last", "drawn"),
    "data: members of a triplet side by side": (
        DATA, "cpp", "chosen[member * triplets_ + t]", "chosen[3 * t + member]"),
    "data: every solver draws the same": (
        DATA, "cpp", "position = rank_ * triplets_ + t", "position = t"),
    "data: every solver draws the same images": (
        DATA, "cpp", "if (param.images() && !triplets_) {\n"
        "    RandomStream random({BATCH, param.seed(), batch, rank_});",
        "if (param.images() && !triplets_) {\n"
        "    RandomStream random({BATCH, param.seed(), batch, 0});"),
    "data: every solver draws the same images and triplets": (
        DATA, "cpp", "if (param.images()) {\n"
        "    RandomStream random({BATCH, param.seed(), batch, rank_});",
        "if (param.images()) {\n"
        "    RandomStream random({BATCH, param.seed(), batch, 0});"),
    "data: every solver draws the same of few classes": (
        DATA, "cpp", "batch, shared ? 0 : rank_}", "batch, 0}"),
    "data: solvers repeat the list": (
        DATA, "cpp", "batch * solvers_ * triplets_", "batch * triplets_"),
    "data: every batch the same": (
        DATA, "cpp", "{TRIPLET, param.seed(), batch, position}",
        "{TRIPLET, param.seed(), 0, position}"),
    "data: seed ignored": (
        DATA, "cpp", "{TRIPLET, param.seed(), batch", "{TRIPLET, 0, batch"),
    "data: images of a batch cropped alike": (
        DATA, "cpp", "rank_ * images_ + i}", "rank_ * images_}"),
    "data: counts in TEST": (
        DATA, "cpp", "if (this->phase_ == TRAIN) {", "if (true) {"),
    "data: never counts": (DATA, "cpp", "[0] = count + 1;", "[0] = count;"),
    "data: a test goes on where the last one was": (
        DATA, "cpp", "if (count != test_count_) { test_batch_ = 0; }", ""),
    "data: labels of the batch before": (
        DATA, "cpp", "std::fill(hot, hot + classes, Dtype(0));", ""),
    "data: another image's label": (
        DATA, "cpp", "labels()[chosen[i]]", "labels()[chosen[0]]"),
    "data: distorts one batch more": (
        DATA, "cpp", "batch < until;", "batch <= until;"),
    "data: distorts but at the end": (
        DATA, "cpp", "Distorts(batch) ? *transform_", "!Distorts(batch) ? *transform_"),
    "data: distorts to the end": (
        DATA, "cpp", "param, TEST, *database_", "param, TRAIN, *database_"),
    "sampler: a batch's image twice": (
        SAMPLER, "cpp", "return Choose(count, classes_of_.size(), random);",
        "std::vector<int> drawn(count); for (int& i : drawn) { "
        "i = random->Below(classes_of_.size()); } return drawn;"),
    "sampler: a query similar to itself": (
        SAMPLER, "cpp", "if (j == i) { continue; }", ""),
    "sampler: queries without partners": (
        SAMPLER, "cpp", "paired = !similar[i].empty() && !dissimilar[i].empty();",
        "paired = !similar[i].empty();"),
    "sampler: one place for all triplets": (
        SAMPLER, "cpp", "(*places)[t] = query;", "(*places)[0] = query;"),
    "sampler: shares by the place in a set": (
        SAMPLER, "cpp", "shares > 1 && rest > 1", "false"),
    "data: tops as they were left": (
        DATA, "cpp", "  top[0]->ReshapeLike(slot->images);\n", ""),
    "data: a list needs labels": (
        DATA, "cpp", "(triplets_ && !param.has_triplets()) ||", "triplets_ ||"),
    "data: labels in place of places": (
        DATA, "cpp", "if (!places.empty()) { continue; }", ""),
    "data: images alone need classes": (
        DATA, "cpp", "(triplets_ && !param.has_triplets()) || param.has_classes();\n  for",
        "true;\n  for"),
    "data: places though there are no triplets": (
        DATA, "cpp", "if (param.images() && triplets_) {", "if (param.images()) {"),
    "transform: crop in the middle": (
        TRANSFORM, "cpp", "is_training_(phase == TRAIN)", "is_training_(false)"),
    "transform: random crop in TEST": (
        TRANSFORM, "cpp", "is_training_(phase == TRAIN)", "is_training_(true)"),
    "transform: never mirrored": (
        TRANSFORM, "cpp", "param_.mirror() && random->Below(2)", "random->Below(2) && false"),
    "transform: edge pixel twice": (
        TRANSFORM, "cpp", "source.push_back(size - 1 - std::abs(size - 1 - std::abs(i)));",
        "source.push_back(i < 0 ? -1 - i : i < size ? i : 2 * size - 1 - i);"),
    "transform: last crop never drawn": (
        TRANSFORM, "cpp", "random->Below(columns_)", "random->Below(columns_ - 1)"),
    "transform: scaled before the mean": (
        TRANSFORM, "cpp", "(pixel - mean) * scale", "pixel * scale - mean"),
    "transform: one mean for all channels": (
        TRANSFORM, "cpp", "mean = mean_[c]", "mean = mean_[0]"),
    "database: channels as OpenCV has them": (
        DATABASE, "cpp", "rgb_(order == TripletDataParameter::RGB)", "rgb_(false)"),
    "database: a cut JPEG is good enough": (
        DATABASE, "cpp", "if (IsCutJpeg(file)) {", "if (false) {"),
    "database: the end of a thumbnail is good enough": (
        DATABASE, "cpp", "bytes[at + 1] != scan) {", "false) {"),
    "database: a cut file is good enough": (
        DATABASE, "cpp", "CHECK_GE(file.st_size, expected)", "CHECK_GE(file.st_size, 0)"),
    "onednn: plain values taken for new": (
        ONEDNN, "cpp", "values->write_other_layout(std::make_shared<BlockedValues>(written));",
        "values->cpu_data();"),
    "onednn: another shape's values": (
        ONEDNN, "cpp", "&& blocked->values().get_desc().dims() == dims ?", "?"),
    "transform: channels shift together": (
        TRANSFORM, "cpp", "kGrey * jitter_ * random->Balanced() : 0",
        "kGrey * (contrast - 1) : 0"),
    "transform: erases one channel": (
        TRANSFORM, "cpp", "Dtype* row = values + (c * height_ + y)",
        "Dtype* row = values + y"),
    "transform: the square stays inside": (
        TRANSFORM, "cpp", "random->Below(width_)) - erase_ / 2",
        "random->Below(width_ - erase_ + 1))"),
    "transform: warped about a corner": (
        TRANSFORM, "cpp", "shift = middle - map * middle", "shift(0, 0)"),
    "transform: black where a warped image does not reach": (
        TRANSFORM, "cpp", "cv::BORDER_REFLECT_101", "cv::BORDER_CONSTANT"),
    "transform: warped in TEST": (
        TRANSFORM, "cpp", "phase == TRAIN ? options.warp() : 0", "options.warp()"),
    "transform: slants but one way": (
        TRANSFORM, "cpp", "map(1, 0), map(1, 1), shift[1]", "0, map(1, 1), shift[1]"),
    "transform: warps one plane for all": (
        TRANSFORM, "cpp", "const_cast<uint8_t*>(image.data + c * image.channel_step)",
        "const_cast<uint8_t*>(image.data)"),
    "transform: warped channels change places": (
        TRANSFORM, "cpp", "result.decoded.data + (image.data - image.decoded.data)",
        "result.decoded.data"),
    "batch loss: an image similar to itself": (
        BATCH_LOSS, "cpp", "if (j == i) { continue; }", ""),
    "batch loss: all labels must be the same": (
        BATCH_LOSS, "cpp", "if (a[c] != 0 && b[c] != 0) { return true; }",
        "if (a[c] != b[c]) { return false; } if (c == classes - 1) { return true; }"),
    "batch loss: distances have one end": (
        BATCH_LOSS, "cpp", "(uses[i * num + j] + uses[j * num + i])",
        "2 * uses[i * num + j]"),
    "batch loss: hides NaN": (
        BATCH_LOSS, "cpp", "if (!HingeIsActive(hinge)) { continue; }",
        "if (!(hinge > 0)) { continue; }"),
    "batch loss: the mean of all": (
        BATCH_LOSS, "cpp", "average_active_ ? active_ : triplets_", "triplets_"),
    "onednn: gradients not added up": (
        ONEDNN, "cpp", "sum.append_sum();", ""),
    "onednn: bfloat16 without effect": (
        ONEDNN, "cpp", "return memory::data_type::bf16;", "return memory::data_type::f32;"),
    "convolution: bfloat16 without effect": (
        CONVOLUTION, "cpp", "WhyNotIn(arithmetic_, *", "WhyNotIn(memory::data_type::f32, *"),
    "convolution: dilation forgotten": (
        CONVOLUTION, "cpp", "dilations = {dilation[0] - 1, dilation[1] - 1}",
        "dilations = {0, 0}"),
    "pooling: always Caffe's": (
        POOLING, "cpp", "    if (method == PoolingParameter_PoolMethod_STOCHASTIC",
        "    if (true || method == PoolingParameter_PoolMethod_STOCHASTIC"),
    "relu: always Caffe's": (RELU, "cpp", "return slope_ < 0 ?", "return true ?"),
    "batch norm: always Caffe's": (
        BATCH_NORM, "cpp", "return bottom[0]->num_axes() == 4 ? ",
        "return bottom[0]->num_axes() == 5 ? "),
    "scale: always Caffe's": (
        SCALE, "cpp", "return bottom.size() == 1 &&", "return bottom.size() == 3 &&"),
    "pooling: padding not counted": (
        POOLING, "cpp", "dnnl::algorithm::pooling_avg_include_padding",
        "dnnl::algorithm::pooling_avg_exclude_padding"),
    "pooling: what hangs over is counted": (
        POOLING, "cpp", ": dnnl::algorithm::pooling_avg_exclude_padding",
        ": dnnl::algorithm::pooling_avg_include_padding"),
    "relu: slope forgotten": (
        RELU, "cpp", "slope_(param.relu_param().negative_slope())", "slope_(0)"),
    "relu: hides NaN": (
        RELU, "cpp", "value < 0 ? below : value", "value > 0 ? value : slope * 0"),
    "relu: gradient where there is none": (
        RELU, "cpp", "value <= 0 ? slope : 0.f", "1.f"),
    "elements: only the first range": (
        RELU, "cpp", "Rectify(x + begin, slope_, length, y + begin);",
        "if (begin == 0) Rectify(x, slope_, length, y);"),
    "dropout: not scaled": (
        DROPOUT, "cpp", "static_cast<float>(mask[i]) * scale", "static_cast<float>(mask[i])"),
    "dropout: the mask in another layout": (
        DROPOUT, "cpp", "onednn::Reorder(plain_mask_, mask_);",
        "std::copy(mask, mask + count, static_cast<uint8_t*>(mask_.get_data_handle()));"),
    "dropout: the same mask over and over": (
        DROPOUT, "cpp", "std::copy(drawn, drawn + length, mask + i);",
        "if (i == 0) std::copy(drawn, drawn + length, mask);"),
    "dropout: gradient of all": (
        DROPOUT, "cpp", "    ApplyMask(top_diff, diff);", ""),
    "onednn: copies of plain values kept": (
        ONEDNN, "cpp", "  Reorder(source, *scratch);\n",
        "  Reorder(source, *scratch);\n  Put(values, *scratch);\n"),
    "batch norm: biased variance": (
        BATCH_NORM, "cpp", "float(values) / (values - 1)", "1"),
    "batch norm: inputs overwritten": (
        BATCH_NORM, "cpp", "    onednn::Fit(layout_, &output_);\n    if (use",
        "    output_ = input_;\n    if (use"),
    "scale: infinities in the padding": (
        SCALE, "cpp", "{dnnl::prop_kind::backward, layout, layout, 1.f, flags}",
        "{dnnl::prop_kind::backward, layout, layout, 0.f, flags}"),
    "scale: bias gradient of the factor": (
        SCALE, "cpp", "AddToDiff(bias_diff_,", "AddToDiff(factor_diff_,"),
    "prefetcher: overwrites what is being used": (
        PREFETCHER, "cpp", "next_ < taken_ - held_ + slots_", "next_ < taken_ + slots_"),
    "prefetcher: hands out what is not full": (
        PREFETCHER, "cpp", "return ready_[slot]; }", "return true; }"),
    "prefetcher: always goes on": (
        PREFETCHER, "cpp", "if (!running_ || batch != taken_) {", "if (!running_) {"),
    "prefetcher: works on demand": (
        PREFETCHER, "cpp", "next_ < taken_ - held_ + slots_", "next_ <= taken_"),
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
    compiled = folder / f"{layer}.cpp.o"
    words[words.index("-o") + 1] = str(compiled)
    words[words.index("-c") + 1] = str(layers / f"{layer}.cpp")
    words[1:1] = [f"-I{folder}"]
    subprocess.run([*words, "-O0", "-w"], check=True)
    link(compiled, words[0], folder)


def link(compiled, linker, folder):
    """A library of the layers, with this object in the place of the one of its name."""
    built = list(BUILD.glob("layers/CMakeFiles/dnnh_layers.dir/*.cpp.o"))
    others = [path for path in built if path.name != compiled.name]
    assert len(others) == len(built) - 1, compiled
    subprocess.run(
        [linker, "-shared", "-o", folder / "libdnnh_layers.so",
         "-Wl,-soname,libdnnh_layers.so", compiled, *others,
         f"-L{BUILD}", "-lcaffe"], check=True)


def are_green(layer, folder):
    """Whether a layer's tests pass with the library in a folder, within PATIENCE."""
    try:
        run = subprocess.run(
            [BUILD / "tests/layers/test_layers",
             f"--gtest_filter={TESTS[layer]}-*Bad*"],
            # What a test that is stopped leaves goes with the folder.
            env={**os.environ, "LD_LIBRARY_PATH": folder, "TMPDIR": folder,
                 "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        if layer in MAY_HANG:
            return False
        sys.exit(f"error: the tests of {layer} took more than {PATIENCE} s, which says "
                 "nothing of them; run this again when the machine is idle")
    if not re.search(r"Running [1-9]\d* tests? from", run.stdout):
        sys.exit(f"error: the tests of {layer} did not run:\n{run.stdout[-2000:]}")
    return run.returncode == 0


def survives(name):
    """Whether the tests stay green with a mutant: then they are at fault."""
    with tempfile.TemporaryDirectory() as folder:
        build_mutant(name, pathlib.Path(folder))
        return are_green(MUTANTS[name][0], folder)


def is_green_unbroken(layer):
    """Whether the tests are green with a library linked so, and nothing broken in it:
    or it is not the mutants that turn them red."""
    with tempfile.TemporaryDirectory() as folder:
        link(BUILD / f"layers/CMakeFiles/dnnh_layers.dir/{layer}.cpp.o",
             compile_command(layer)[0], pathlib.Path(folder))
        return are_green(layer, folder)


def main():
    wanted = [name for name in MUTANTS if all(word in name for word in sys.argv[1:])]
    if not (BUILD / "tests/layers/test_layers").exists():
        sys.exit("error: the layer tests are not built; run make")
    if "avx512_bf16" not in pathlib.Path("/proc/cpuinfo").read_text():
        unseen = [name for name in wanted if "bfloat16" in name]
        wanted = [name for name in wanted if name not in unseen]
        print(f"This processor has no bfloat16; skipped: {', '.join(unseen)}")
    red = [layer for layer in dict.fromkeys(MUTANTS[name][0] for name in wanted)
           if not is_green_unbroken(layer)]
    if red:
        sys.exit(f"error: with nothing broken the tests are red for {', '.join(red)}")
    # Compilers and tests are processes of their own, one for each processor.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        outcomes = tqdm(zip(wanted, pool.map(survives, wanted)), total=len(wanted),
                        unit="mutant", desc="breaking layers")
        alive = [name for name, survived in outcomes if survived]
    for name in alive:
        print(f"SURVIVED: {name}")
    print(f"{len(wanted) - len(alive)} passed, {len(alive)} failed")
    sys.exit(bool(alive) or not wanted)


if __name__ == "__main__":
    main()
