"""The mutants of tests/mutation_tests.py: for each source file of layers/, edits that
break it. Each original text must occur exactly once in its file."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One edit of a source file."""

    source: str  # relative to layers/
    original: str
    replacement: str

    @property
    def layer(self) -> str:
        """The .cpp file that is compiled, without its suffix: that of the same name, or one
        that includes the header.

        ``gpu`` for the kernels, which are compiled together.
        """
        if self.source.startswith("gpu/"):
            return "gpu"
        return INCLUDED_BY.get(self.source, self.source.rpartition(".")[0])


# Headers that several layers include: the layer whose tests must detect their mutants.
INCLUDED_BY = {
    "batch_labels.hpp": "ranking_list_loss_layer",
    "iteration_count.hpp": "piecewise_threshold_layer",
    "onednn/convolution.hpp": "onednn/convolution_layer",
    "clipped.hpp": "onednn/clip_layer",
    "onednn/onednn.hpp": "onednn/relu_layer",
    "onednn/planes.hpp": "onednn/normalization",
    "onednn/vectors.hpp": "onednn/normalization",
}

# source: {name of the mutant: (original text, replacement)}
_EDITS = {
    "triplet_ranking_loss_layer.hpp": {
        "loss: sign of eq. 3 as printed": (
            "default: return 2 * (query - negative);",
            "default: return 2 * (negative - query);",
        ),
        "loss: factor 2 forgotten": ("case 0: return 2 * (negative", "case 0: return (negative"),
        "loss: distances swapped": (
            "return to_positive * to_positive - to_negative * to_negative",
            "return to_negative * to_negative - to_positive * to_positive",
        ),
    },
    "triplet_ranking_loss_layer.cpp": {
        "loss: margin forgotten": ("hinge[n] = sum + margin_", "hinge[n] = sum"),
        "loss: loss weight forgotten": ("top[0]->cpu_diff()[0] / num", "Dtype(1) / num"),
        "loss: sum instead of mean": (
            "mutable_cpu_data()[0] = loss / num",
            "mutable_cpu_data()[0] = loss",
        ),
        "loss: gradient not divided by the batch": (
            "top[0]->cpu_diff()[0] / num",
            "top[0]->cpu_diff()[0]",
        ),
        "loss: gradient at the corner": (
            "const bool active = HingeIsActive(hinge[n]);",
            "const bool active = hinge[n] >= 0;",
        ),
        "loss: gradient of inactive triplets": (
            "const bool active = HingeIsActive(hinge[n]);",
            "const bool active = true;",
        ),
        "loss: no gradient for NaN": (
            "const bool active = HingeIsActive(hinge[n]);",
            "const bool active = hinge[n] > 0;",
        ),
        "loss: propagate_down ignored": ("if (!propagate_down[member]) { continue; }", ""),
        "loss: buffer sized in set-up only": (
            "hinge_.Reshape(vector<int>(1, bottom[0]->shape(0)));",
            "if (!hinge_.count()) { hinge_.Reshape(vector<int>(1, bottom[0]->shape(0))); }",
        ),
        "loss: hides NaN": (
            "if (!HingeIsActive(hinge[n])) { continue; }",
            "if (!(hinge[n] > 0)) { continue; }",
        ),
    },
    "batch_triplet_loss_layer.cpp": {
        "batch loss: query is its own positive": ("if (j == i) { continue; }", ""),
        "batch loss: gradient for one end of a distance": (
            "(uses[i * num + j] + uses[j * num + i])",
            "2 * uses[i * num + j]",
        ),
        "batch loss: hides NaN": (
            "if (!HingeIsActive(hinge)) { continue; }",
            "if (!(hinge > 0)) { continue; }",
        ),
        "batch loss: average over all": ("average_active_ ? active_ : triplets_", "triplets_"),
        "batch loss: adjacency summed": ("adjacency_ * sum / pairs;", "adjacency_ * sum;"),
        "batch loss: adjacency without a gradient": (
            "uses_.mutable_cpu_data()[i * num + j] += use;",
            "",
        ),
        "batch loss: adjacency of all pairs": (
            "if (j != i && CommonLabels(labels, i, j)) {",
            "if (j != i) {",
        ),
        "batch loss: adjacency divided as triplets are": (
            "adjacency_ * divisor() / pairs;",
            "adjacency_ / pairs;",
        ),
        "batch loss: adjacency divided by all triplets": (
            "adjacency_ * divisor() / pairs;",
            "adjacency_ * triplets_ / pairs;",
        ),
    },
    "batch_labels.hpp": {
        "labels: one in common counted": (
            "{ common += a[c] != 0 && b[c] != 0; }",
            "{ common |= a[c] != 0 && b[c] != 0; }",
        ),
        "labels: absent ones in common": ("a[c] != 0 && b[c] != 0;", "a[c] == b[c];"),
    },
    "ranking_list_loss_layer.cpp": {
        "list loss: logarithm of the position": ("std::log(p + 2.)", "std::log(p + 1.5)"),
        "list loss: gain linear in relevance": (
            "(std::exp2(relevance[p] - most) - std::exp2(-most))",
            "relevance[p]",
        ),
        "list loss: list not in order": (
            "  std::sort(relevance.begin(), relevance.end(), std::greater<int>());\n",
            "",
        ),
        "list loss: equal weights": (
            "std::exp2(relevance[j] - most) - std::exp2(relevance[k] - most);",
            "1;",
        ),
        "list loss: gains beyond a number": (
            "*std::max_element(relevance.begin(), relevance.end());",
            "0;",
        ),
        "list loss: pairs of equal relevance": (
            "relevance[j] <= relevance[k]",
            "relevance[j] < relevance[k]",
        ),
        "list loss: distances doubled": (
            "(inner[k] - inner[j]) / 2 + margin",
            "(inner[k] - inner[j]) + margin",
        ),
        "list loss: sum over pairs": ("1 / (pairs * IdealGain", "1 / (IdealGain"),
        "list loss: codes from 0 to 1": (
            "2 * bottom[0]->cpu_data()[i] - 1;",
            "bottom[0]->cpu_data()[i];",
        ),
        "list loss: gradients accumulate": (
            "  caffe_set(gains_.count(), Dtype(0), gains_.mutable_cpu_data());\n",
            "",
        ),
        "list loss: gradient for one end": (
            "num, bits, num, scale, gains,\n                        codes, 1, diff);",
            "num, bits, num, 0, gains,\n                        codes, 1, diff);",
        ),
        "list loss: balance without a gradient": ("scale * alpha / num,", "Dtype(0),"),
        "list loss: balance not halved": ("      + alpha / 2\n", "      + alpha\n"),
    },
    "divide_and_encode_layer.hpp": {
        "encode: off-by-one slice": (
            "i * length_ + (i < longer_ ? i : longer_)",
            "i * length_ + (i <= longer_ ? i : longer_ + 1)",
        ),
        "encode: longer slices last": (
            "return i * length_ + (i < longer_ ? i : longer_);",
            "return i * length_;",
        ),
    },
    "divide_and_encode_layer.cpp": {
        "encode: bias not added": ("bias ? bias[i] : Dtype(0)", "Dtype(0)"),
        "encode: weight gradient overwritten": (
            "weights_diff[j] += x[j]",
            "weights_diff[j] = x[j]",
        ),
        "encode: bias gradient halved": (
            "caffe_axpy(bits_, Dtype(1)",
            "caffe_axpy(bits_, Dtype(0.5)",
        ),
        "encode: input gradient without weights": (
            "x_diff[j] = weights[j] * y_diff[i]",
            "x_diff[j] = y_diff[i]",
        ),
        "encode: fan-in of all features": (
            "Blob<Dtype> slice(vector<int>{1, slices().begin(i + 1) - begin});",
            "Blob<Dtype> slice(vector<int>{1, features_});",
        ),
    },
    "piecewise_threshold_layer.hpp": {
        "threshold: no gradient at the corner": (
            "s >= Dtype(0.5) - epsilon",
            "s > Dtype(0.5) - epsilon",
        ),
        "threshold: corner rounded": (
            "if (s < Dtype(0.5) - epsilon)",
            "if (s <= Dtype(0.5) - epsilon)",
        ),
        "threshold: never rounds to 1": ("if (s > Dtype(0.5) + epsilon) { return 1; }", ""),
        "threshold: hides NaN": ("  return s;\n}", "  return s == s ? s : Dtype(0);\n}"),
    },
    "piecewise_threshold_layer.cpp": {
        "threshold: gradient in the flat pieces": (
            "PiecewiseInside(s[i], epsilon_) ? top_diff[i] : Dtype(0)",
            "top_diff[i]",
        ),
        "threshold: gradient by the output": (
            "const Dtype* s = bottom[0]->cpu_data();  // g(s)",
            "const Dtype* s = top[0]->cpu_data();  // g(s)",
        ),
    },
    "iteration_count.hpp": {
        "schedule: counts in TEST": ("if (phase != TRAIN) { return iteration; }", ""),
        "schedule: counts every pass": ("if (mark[0] != 0) { return iteration - 1; }", ""),
        "schedule: a second pass is an iteration ahead": (
            "return iteration - 1;",
            "return iteration;",
        ),
        "schedule: never counts": ("count->mutable_cpu_data()[0] += 1;", ""),
        "schedule: mark contributes to clip_gradients": (
            "mark[0] = std::numeric_limits<Dtype>::min();",
            "mark[0] = 1;",
        ),
        "schedule: solver updates the count": (
            "param->mutable_param(0)->set_lr_mult(0);\n  param->mutable_param(0)->set_decay_mult(0);",
            "param->mutable_param(0)->set_lr_mult(1);",
        ),
        "schedule: a step one iteration early": (
            "std::floor(iteration / stepsize)",
            "std::floor((iteration + 1) / stepsize)",
        ),
    },
    "resize_layer.cpp": {
        "resize: pixels at their corners": ("(i + 0.5) * step - 0.5", "i * step"),
        "resize: the last tap forgotten": (
            "j <= last; ++j) {\n      taps",
            "j < last; ++j) {\n      taps",
        ),
        "resize: not widened": ("width = std::max(step, 1.);", "width = 1.;"),
        "resize: weights do not sum to 1": ("/ width) / sum)", "/ width))"),
        "resize: linear": ("return (1.5 * x - 2.5) * x * x + 1;", "return 1 - x;"),
        "resize: rows for columns": (
            "columns_ = TapsOf(bottom[0]->shape(3), size);",
            "columns_ = TapsOf(bottom[0]->shape(2), size);",
        ),
    },
    "slope_sigmoid_layer.cpp": {
        "slope: none": ("std::exp(-slope_ * v[i])", "std::exp(-v[i])"),
        "slope: not in the gradient": ("top_diff[i] * slope_ * b[i]", "top_diff[i] * b[i]"),
        "slope: gradient by the input": (
            "const Dtype* b = top[0]->cpu_data();\n  const Dtype* top_diff",
            "const Dtype* b = bottom[0]->cpu_data();\n  const Dtype* top_diff",
        ),
    },
    "code_monitor_layer.cpp": {
        "monitor: 0.5 counted as a 1": ("value > Dtype(0.5)", "value >= Dtype(0.5)"),
        "monitor: all codes equal": ("codes.insert(code);", "codes.insert(vector<bool>(bits));"),
        "monitor: 1 not counted as clipped": ("value == 0 || value == 1", "value == 0"),
        "monitor: lowest counted": ("Dtype(lowest) / num", "Dtype(lowest)"),
    },
    "data/triplet_data_layer.cpp": {
        "data: images of a batch cropped alike": (
            "share_.rank * images + i}",
            "share_.rank * images}",
        ),
        "data: counts in TEST": ("if (this->phase_ == TRAIN) {", "if (true) {"),
        "data: never counts": ("[0] = count + 1;", "[0] = count;"),
        "data: a test continues the last one": (
            "if (count != test_count_) { test_batch_ = 0; }",
            "",
        ),
        "data: labels of the previous batch": (
            "std::fill(values, values + database_->classes(), Dtype(0));",
            "",
        ),
        "data: another image's label": (
            "WriteLabels(drawn.images[i],",
            "WriteLabels(drawn.images[0],",
        ),
        "data: augments one batch more": ("batch < until;", "batch <= until;"),
        "data: augments only at the end": (
            "IsAugmented(batch) ? *transform_",
            "!IsAugmented(batch) ? *transform_",
        ),
        "data: augments to the end": ("param, TEST, *database_", "param, TRAIN, *database_"),
        "data: tops keep the shape they were given": ("  top[0]->ReshapeLike(slot->images);\n", ""),
        "data: labels in place of positions": ("if (drawn.positions.empty()) {", "if (true) {"),
        "data: positions without triplets": (
            "if (sampler_->positions() > 0) {",
            "if (sampler_->positions() >= 0) {",
        ),
    },
    "data/batch_sampler.cpp": {
        "batch sampler: members of a triplet side by side": (
            "drawn.images[member * triplets_ + t]",
            "drawn.images[3 * t + member]",
        ),
        "batch sampler: every solver draws the same triplets": (
            "position = share_.rank * triplets_ + t",
            "position = t",
        ),
        "batch sampler: every solver draws the same images": (
            "RandomStream random({BATCH, seed_, batch, share_.rank});\n    return",
            "RandomStream random({BATCH, seed_, batch, 0});\n    return",
        ),
        "batch sampler: every solver draws the same triplets among images": (
            "RandomStream random({BATCH, seed_, batch, share_.rank});\n    SampledBatch",
            "RandomStream random({BATCH, seed_, batch, 0});\n    SampledBatch",
        ),
        "batch sampler: every solver draws the same of few classes": (
            "shared ? 0 : share_.rank}",
            "0}",
        ),
        "batch sampler: solvers repeat listed triplets": (
            "batch * share_.solvers * triplets_",
            "batch * triplets_",
        ),
        "batch sampler: every batch the same": (
            "{TRIPLET, seed_, batch, position}",
            "{TRIPLET, seed_, 0, position}",
        ),
        "batch sampler: seed ignored": ("{TRIPLET, seed_, batch", "{TRIPLET, 0, batch"),
        "batch sampler: listed triplets need labels": (
            "list_(ReadTripletList(owner, param.triplet_file(), database.size())) {}",
            "list_(ReadTripletList(owner, param.triplet_file(), database.size())) {\n    CheckEveryImageHasALabel(owner, database);\n  }",
        ),
        "batch sampler: images alone need labels": (
            "    CheckThereAreAsManyImages(owner, database, param.images());\n  }",
            "    CheckThereAreAsManyImages(owner, database, param.images());\n    CheckEveryImageHasALabel(owner, database);\n  }",
        ),
    },
    "data/image_sampler.cpp": {
        "sampler: query is its own positive": ("images[rest] >= query;", "false;"),
        "sampler: positives weighted by shared labels": (
            "if (random->Below(SharedLabels(query, drawn)) == 0)",
            "if (true)",
        ),
        "sampler: negative shares a label": (
            "SharedLabels(query, triplet[2]) > 0",
            "SharedLabels(query, triplet[2]) > 1",
        ),
        "sampler: classes equally likely whatever their size": (
            "rest -= members(classes[i++]) - 1;",
            "rest = 0; ++i;",
        ),
        "sampler: an image twice": ("is_new ? drawn : last", "drawn"),
        "sampler: an image twice in a batch": (
            "return Choose(count, classes_of_.size(), random);",
            "std::vector<int> drawn(count); for (int& i : drawn) { i = random->Below(classes_of_.size()); } return drawn;",
        ),
        "sampler: query among its positives in a batch": ("if (j == i) { continue; }", ""),
        "sampler: queries without negatives": (
            "is_query = !positives[i].empty() && !negatives[i].empty();",
            "is_query = !positives[i].empty();",
        ),
        "sampler: one position for all triplets": (
            "(*positions)[t] = query;",
            "(*positions)[0] = query;",
        ),
        "sampler: shares of classes not shuffled": ("shares > 1 && rest > 1", "false"),
        "sampler: the first negative of a batch": (
            "negative[random->Below(negative.size())]",
            "negative[0]",
        ),
    },
    "data/image_database.cpp": {
        "database: channels in OpenCV's order": (
            "rgb_(order == TripletDataParameter::RGB)",
            "rgb_(false)",
        ),
        "database: truncated JPEG accepted": ("if (IsTruncatedJpeg(file)) {", "if (false) {"),
        "database: end marker of a thumbnail accepted": ("bytes[at + 1] != scan) {", "false) {"),
        "database: damaged pages accepted": ("CHECK(damage.empty())", "CHECK(true)"),
    },
    "files/atomic_file.cpp": {
        "atomic file: written in place": (
            'const std::string partial = path + ".partial";',
            "const std::string partial = path;",
        ),
        "atomic file: a link to nothing replaced": ("TargetOfLinks(name)", "name"),
        "atomic file: full disk unnoticed": (
            "if (written < 0) { return false; }",
            "if (written < 0) { return true; }",
        ),
        "atomic file: partial file stays": ("if (!is_written) { unlink(partial.c_str()); }", ""),
        "atomic file: HDF5 cut": ("image.data(), image.size());\n}", "image.data(), size / 2);\n}"),
    },
    "files/lmdb_pages.cpp": {
        "lmdb: databases of a name accepted": ("if (flags & kDatabase) {", "if (false) {"),
        "lmdb: truncated file accepted": (
            "file_.size() / page_size_ <= meta_.last_page",
            "file_.size() / page_size_ < meta_.last_page / 2",
        ),
        "lmdb: newer meta page ignored": (
            "metas[metas[1].transaction > metas[0].transaction]",
            "metas[0]",
        ),
        "lmdb: page size of the older meta page": (
            "metas[1].free.page_size != metas[0].free.page_size",
            "meta_.free.page_size != metas[0].free.page_size",
        ),
        "lmdb: node outside of its page": (
            "if (at < header.upper || at + kNodeHeader > page_size_)",
            "if (false)",
        ),
        "lmdb: value outside of the file": ("|| pages > meta_.last_page - first", ""),
        "lmdb: key order": ("key <= last_key_", "false"),
        "lmdb: too few nodes": ("nodes < (kind == kBranch ? 2 : 1)", "false"),
        "lmdb: duplicates accepted": ("if (flags & kDuplicates)", "if (false)"),
    },
    "data/image_transform.cpp": {
        "transform: centre crop in TRAIN": ("is_training_(phase == TRAIN)", "is_training_(false)"),
        "transform: random crop in TEST": ("is_training_(phase == TRAIN)", "is_training_(true)"),
        "transform: never flipped": (
            "param_.mirror() && random->Below(2)",
            "random->Below(2) && false",
        ),
        "transform: edge pixel twice": (
            "source.push_back(size - 1 - std::abs(size - 1 - std::abs(i)));",
            "source.push_back(i < 0 ? -1 - i : i < size ? i : 2 * size - 1 - i);",
        ),
        "transform: last crop never drawn": (
            "random->Below(columns_)",
            "random->Below(columns_ - 1)",
        ),
        "transform: scaled before the mean": ("(pixel - mean) * scale", "pixel * scale - mean"),
        "transform: one mean for all channels": ("mean = mean_[c]", "mean = mean_[0]"),
        "transform: channels shift together": (
            "kGrey * color_jitter_ * random->Balanced() : 0",
            "kGrey * (contrast - 1) : 0",
        ),
        "transform: half of the shift": (
            "kGrey * color_jitter_ * random->Balanced() : 0",
            "kGrey / 2 * color_jitter_ * random->Balanced() : 0",
        ),
        "transform: cutout of one channel": (
            "Dtype* row = values + (c * height_ + y)",
            "Dtype* row = values + y",
        ),
        "transform: cutout stays inside": (
            "random->Below(width_)) - cutout_ / 2",
            "random->Below(width_ - cutout_ + 1))",
        ),
        "transform: TrivialAugment in TEST": (
            "phase == TRAIN ? options.trivial_augment() : 0",
            "options.trivial_augment()",
        ),
        "transform: TrivialAugment left out": ("if (trivial_augment_ > 0) {", "if (false) {"),
        "transform: random affine in TEST": (
            "phase == TRAIN ? options.random_affine() : 0",
            "options.random_affine()",
        ),
    },
    "data/prefetcher.cpp": {
        "prefetcher: overwrites the batch in use": (
            "next_ < taken_ - held_ + slots_",
            "next_ < taken_ + slots_",
        ),
        "prefetcher: returns incomplete batches": ("return ready_[slot]; }", "return true; }"),
        "prefetcher: ignores the requested batch": (
            "if (!running_ || batch != taken_) {",
            "if (!running_) {",
        ),
        "prefetcher: fills on demand only": ("next_ < taken_ - held_ + slots_", "next_ <= taken_"),
    },
    "onednn/onednn.cpp": {
        "onednn: computes what is overwritten": ("overwrite_cpu_data", "mutable_cpu_data"),
        "onednn: stale plain values used": (
            "values->write_alternate_layout(std::make_shared<BlockedValues>(written));",
            "values->cpu_data();",
        ),
        "onednn: channels never last": ("return dims.size() == 4 &&", "return dims.size() == 3 &&"),
        "onednn: plain values of 1x1 images overwritten": ("&& dims[2] * dims[3] > 1\n", "\n"),
        "onednn: values of another shape used": (
            "&& DimsOf(blocked->values().get_desc()) == dims ?",
            "?",
        ),
        "onednn: gradients not accumulated": ("sum.append_sum();", ""),
        "onednn: bfloat16 has no effect": (
            "return memory::data_type::bf16;",
            "return memory::data_type::f32;",
        ),
        "onednn: copies of plain values kept": (
            "  Reorder(source, *scratch);\n",
            "  Reorder(source, *scratch);\n  Put(values, *scratch);\n",
        ),
    },
    "onednn/batch_norm_layer.cpp": {
        "batch norm: always Caffe's": (
            "return bottom[0]->num_axes() == 4 ? ",
            "return bottom[0]->num_axes() == 5 ? ",
        ),
        "batch norm: biased variance": ("float(values) / (values - 1)", "1"),
        "batch norm: gradient as with constant statistics": (
            "    if (use_global_stats_) {\n      return gradient",
            "    if (true) {\n      return gradient",
        ),
        "batch norm: sums of a scale forgotten": (
            "per_gradient[c] *= gradient->factors()[c];",
            "",
        ),
    },
    "onednn/convolution.hpp": {
        "convolution: bfloat16 has no effect": (
            "std::string reason = UnsupportedReasonFor(arithmetic_, shape);",
            "std::string reason = UnsupportedReasonFor(memory::data_type::f32, shape);",
        ),
        "convolution: dilation forgotten": (
            "shape.dilations = {dilation[0] - 1, dilation[1] - 1};",
            "shape.dilations = {0, 0};",
        ),
    },
    "onednn/direct_convolution.cpp": {
        "fused: no ReLU": ("eltwise_relu, 0, 0,", "eltwise_relu, 1, 0,"),
        "fused: clipped at 0 only": (
            "eltwise_clip, clip->min(), clip->max()",
            "eltwise_clip, 0, clip->max()",
        ),
        "convolution: no bias": ("if (bias) { arguments", "if (false) { arguments"),
        "convolution: outputs of the first images": (
            "BatchAt(first, count, out)",
            "BatchAt(0, count, out)",
        ),
        "convolution: gradient of the last images": ("first ? of_batch : sum", "sum"),
        "fused: not clipped": (
            "clipping_, kForward, kDirect, source",
            "dnnl::post_ops(), kForward, kDirect, source",
        ),
    },
    "onednn/gemm_convolution.cpp": {
        "gemm: no bias": ("bias ? 1 : 0, y", "0, y"),
        "gemm: not clipped at the top": (
            "Clipped(y[i], clip_->min(), clip_->max())",
            "std::max(y[i], clip_->min())",
        ),
        "gemm: inputs overwritten": ("if (source == output) {", "if (false) {"),
        "gemm: gradients do not accumulate": (
            "ReadPlain(source, shape_.source), 1,",
            "ReadPlain(source, shape_.source), 0,",
        ),
        "gemm: pixels around forgotten": (
            "&& is_one(shape.weights) && shape.pads == none",
            "",
        ),
    },
    "onednn/winograd_convolution.cpp": {
        "winograd: tiles shifted": (
            "row % of.rows * of.step - of.pad",
            "row % of.rows * of.step",
        ),
        "winograd: values beyond the images": ("if (is_inside) {", "if (left + x >= 0) {"),
        "winograd: deferred values as they are": ("if (source.deferred) {", "if (false) {"),
        "winograd: no bias": ("if (bias) { Load", "if (false) { Load"),
        "winograd: no upper bound": ("value > max ? Vector{} + max : value", "value"),
        "winograd: weights not rotated": ("is_rotated ? kTaps - 1 - tap : tap", "tap"),
        "winograd: narrow panels as wide": ("b_inner ? b_inner : kLanes,", "kPanel<kLanes>,"),
        "winograd: gradient of the last tiles": ("      if (adds) {", "      if (false) {"),
        "winograd: gradient of the first thread": ("i < parts; ++i", "i < 1; ++i"),
        "winograd: gradient of the biases": ("36 * at_ones[", "at_ones["),
        "winograd: direct for all": (
            "shape.strides != one",
            "shape.strides == one",
        ),
    },
    "onednn/vectors.hpp": {
        "vectors: bfloat16 cut off": ("whole + 0x7fff + (whole >> 16 & 1)", "whole"),
    },
    "fused_convolution_layer.cpp": {
        "fused: never clipped": (
            "if (!this->layer_param_.has_clip_param()) { return; }",
            "return;",
        ),
        "fused: clipped above only": ("Clipped(y[i], min, max)", "std::min(y[i], max)"),
        "fused: trained": ("CHECK_EQ(this->phase_, TEST)", "CHECK(true)"),
    },
    "onednn/fused_convolution_layer.cpp": {
        "fused: first weights stay": ("|| writes_ != weights.writes()", ""),
        "fused: weights of another shape": ("weights_ = onednn::memory();  // those of", "// of"),
    },
    "onednn/dropout_layer.cpp": {
        "dropout: not scaled": (
            "x[i] * mask[i] * scale",
            "x[i] * mask[i]",
        ),
        "dropout: mask in another layout": (
            "onednn::Reorder(plain_mask_, mask_);",
            "std::copy(mask, mask + count, static_cast<float*>(mask_.get_data_handle()));",
        ),
        "dropout: same mask in every chunk": (
            "std::copy(drawn, drawn + length, mask + i);",
            "if (i == 0) std::copy(drawn, drawn + length, mask);",
        ),
        "dropout: gradient of dropped values": ("    ApplyMask(top_diff, diff);", ""),
    },
    "onednn/add_elements.cpp": {
        "add: second factor ignored": ("+ factor_b * b[i];", "+ b[i];"),
        "add: first factor ignored": ("sum[i] = factor_a * a[i]", "sum[i] = a[i]"),
        "add: two of many": (
            "i < sources.size(); ++i) {\n        AddPair",
            "i < 2; ++i) {\n        AddPair",
        ),
        "add: every range the first": ("values(sources[0]) + begin;", "values(sources[0]);"),
    },
    "onednn/eltwise_layer.cpp": {
        "eltwise: all operations are sums": (
            'op_ == EltwiseParameter_EltwiseOp_SUM ? "" : "it is not a sum"',
            '""',
        ),
        "eltwise: gradients without factors": (
            "onednn::Add({top_diff}, {coeffs_[i]},",
            "onednn::Add({top_diff}, {1.f},",
        ),
        "eltwise: layouts mixed": (
            "onednn::Dims(*bottom[i]), layout,",
            "onednn::Dims(*bottom[i]), onednn::Values(*bottom[i]).get_desc(),",
        ),
    },
    "onednn/split_layer.cpp": {
        "split: gradient of the first": (
            "vector<float>(top.size(), 1)",
            "vector<float>(top.size(), 0)",
        ),
    },
    "onednn/pooling_layer.cpp": {
        "pooling: always Caffe's": (
            'return all_have_pixels ? "" :',
            'return is_max() ? "" :',
        ),
        "pooling: more positions than a byte has": ("> kMostPositions", "> 1000"),
        "pooling: padding not counted": (
            "sizes.push_back(std::min(first + kernel, side + pad) - first)",
            "sizes.push_back(pixels[i].end - pixels[i].begin)",
        ),
        "pooling: pixels past the padding counted": (
            "sizes.push_back(std::min(first + kernel, side + pad) - first)",
            "sizes.push_back(kernel)",
        ),
        "pooling: hides NaN": (
            "last_nan = value == value ? last_nan : here;",
            "",
        ),
        "pooling: gradient of all in a window": (
            "position == before - starts[column]",
            "position == position",
        ),
        "pooling: gradient of the first window": (
            "column < along.end; ++column) {\n          const int64_t at",
            "column <= along.begin; ++column) {\n          const int64_t at",
        ),
        "pooling: averages without their map": (
            "Map<Vector>(factor, shift, slope, &value);\n          sum +=",
            "sum +=",
        ),
    },
    "onednn/relu_layer.cpp": {
        "relu: always Caffe's": ("return slope_ < 0 ", "return true "),
        "relu: slope forgotten": ("slope_(param.relu_param().negative_slope())", "slope_(0)"),
        "relu: hides NaN": ("value < 0 ? below : value", "value > 0 ? value : slope * 0"),
        "relu: gradient below 0": ("value <= 0 ? slope : 0.f", "1.f"),
    },
    "onednn/onednn.hpp": {
        "elements: only the first range": (
            "(memories.get_data_handle()) + begin...",
            "(memories.get_data_handle())...",
        ),
        "elements: without the last": ("loop(length,", "loop(length - 1,"),
    },
    "clipped.hpp": {
        "clip: no lower bound": ("value < min ? min : value;", "value;"),
        "clip: no upper bound": ("raised > max ? max : raised;", "raised;"),
        "clip: hides NaN": ("value < min ? min : value;", "value > min ? value : min;"),
    },
    "onednn/clip_layer.cpp": {
        "clip: any bounds": ("min_ <= max_ ?", "true ?"),
        "clip: gradient everywhere": ("value >= min && value <= max ? 1.f : 0.f", "1.f"),
    },
    "onednn/scale_layer.cpp": {
        "scale: overwrites what a gradient waits for": (
            "onednn::Resolve(bottom[0]->diff().get());",
            "",
        ),
        "scale: always Caffe's": ("return bottom.size() == 1 &&", "return bottom.size() == 3 &&"),
        "scale: gradients wait for nobody": (
            "return onednn::Resolve(top[0]->diff().get());",
            "return;",
        ),
        "scale: gradients of frozen factors": ("if (param_propagate_down_[0]) {", "if (true) {"),
        "scale: no bias": ("+ (has_bias() ? ", "+ (false ? "),
        "scale: bias gradient of the factor": (
            "AddToDiff(sums->gradients,",
            "AddToDiff(sums->products,",
        ),
        "scale: factors of the scale behind forgotten": (
            "onednn::PerChannel factors = gradient->factors();",
            "onednn::PerChannel factors(gradient->factors().size(), 1.f);",
        ),
    },
    "onednn/normalization.cpp": {
        "normalization: source overwritten": ("    *buffer_ = memory();\n", ""),
        "normalization: values of a ReLU as linear": (
            "deferred && deferred->map().slope == 1",
            "deferred",
        ),
        "normalization: in several passes": (
            "if (!may_wait) { Resolve(values); }",
            "Resolve(values);",
        ),
        "normalization: gradients that were computed": (
            "deferred && !deferred->is_computed()",
            "deferred",
        ),
        "normalization: gradient as without ReLU": (
            "value <= 0 ? slope * *gradient",
            "value <= 0 ? *gradient",
        ),
        "normalization: deviations from an image's mean": (
            "squares[c] += pixels * deviation * deviation;",
            "",
        ),
    },
    "onednn/planes.hpp": {
        "planes: channels last as if in blocks": (
            "if (HasChannelsLast(layout)) { channels_ = DimsOf(layout)[1]; }",
            "",
        ),
        "planes: always the first block": ("* channels_ + plane % blocks * kLanes", "* channels_"),
    },
    "data/affine_warp.cpp": {
        "transform: random affine about a corner": (
            "shift = centre - map * centre + moved",
            "shift = moved",
        ),
        "transform: random affine of one channel alone": ("Plane(*image, c);", "Plane(*image, 0);"),
        "trivial augment: channels from one plane": (
            "image.data[c * image.channel_step",
            "image.data[0 * image.channel_step",
        ),
        "transform: random affine reverses channels": (
            "image.data[c * image.channel_step",
            "image.data[(image.channels - 1 - c) * image.channel_step",
        ),
        "transform: random affine fills with black": (
            "cv::BORDER_REFLECT_101",
            "cv::BORDER_CONSTANT",
        ),
        "transform: random affine shears one way only": (
            "map(1, 0), map(1, 1), shift[1]",
            "0, map(1, 1), shift[1]",
        ),
    },
    "data/trivial_augment.cpp": {
        "trivial augment: half of the range": ("1 + 0.99 * amount", "1 + 0.49 * amount"),
        "trivial augment: grey of a single channel": (
            "double(values[i]) / image->channels",
            "double(values[i])",
        ),
        "trivial augment: contrast about each pixel": ("if (is_of_image) {", "if (false) {"),
        "trivial augment: edges sharpened": (
            "int x = 1; x + 1 < image->width",
            "int x = 0; x < image->width",
        ),
        "trivial augment: too few bits": ("std::lround(6 * size)", "std::lround(7 * size)"),
        "trivial augment: dark values solarized": ("v >= 256 * (1 - size)", "v < 256 * (1 - size)"),
        "trivial augment: contrast not stretched": (
            "(v - least) * 255 / (most - least)",
            "v - least",
        ),
        "trivial augment: contrast of all channels": (
            "Autocontrast(Plane(result, c))",
            "Autocontrast(all)",
        ),
        "trivial augment: equalizes as contrast": (
            "cv::equalizeHist(plane, plane)",
            "Autocontrast(plane)",
        ),
        "trivial augment: sharpens one channel": (
            "for (int c = 0; c < image->channels; ++c) {\n    cv::Mat plane",
            "for (int c = 0; c < 1; ++c) {\n    cv::Mat plane",
        ),
        "trivial augment: rotates the other way": ("135 * amount * CV_PI", "-135 * amount * CV_PI"),
        "trivial augment: translates by height": (
            "amount * result.width, 0",
            "amount * result.height, 0",
        ),
        "trivial augment: strength ignored": (
            "strength * random->Balanced()",
            "random->Balanced()",
        ),
    },
    "gpu/divide_and_encode_kernels.hpp": {
        "kernel: a slice too short": ("j < slices.begin(i + 1)", "j < slices.begin(i + 1) - 1"),
        "kernel: a slice too long": ("j < slices.begin(i + 1)", "j <= slices.begin(i + 1)"),
        "kernel: weights' gradient overwritten": ("sum = weights_diff[j]", "sum = 0"),
        "kernel: sign of the weights' gradient": (
            "sum += x[n * features + j]",
            "sum -= x[n * features + j]",
        ),
        "kernel: bias gradient without the last image": (
            "for (int n = 0; n < num; ++n) { sum",
            "for (int n = 0; n < num - 1; ++n) { sum",
        ),
        "kernel: gradient of another slice": (
            "y_diff[n * bits + slices.bit(j)]",
            "y_diff[n * bits + slices.bit(j) / 2]",
        ),
    },
    "gpu/piecewise_threshold_kernels.hpp": {
        "kernel: threshold without its last value": (
            "CUDA_KERNEL_LOOP(i, count) { g[i]",
            "CUDA_KERNEL_LOOP(i, count - 1) { g[i]",
        ),
        "kernel: threshold's gradient outside": (
            "? top_diff[i] : Dtype(0)",
            "? Dtype(0) : top_diff[i]",
        ),
    },
    "gpu/triplet_ranking_loss_kernels.hpp": {
        "kernel: a bit too many in the hinge": ("i < (n + 1) * bits", "i <= (n + 1) * bits"),
        "kernel: sign of the margin": ("sum + margin", "sum - margin"),
        "kernel: loss without the first triplet": ("n = threadIdx.x;", "n = threadIdx.x + 1;"),
        "kernel: gradient of inactive triplets": (
            "HingeIsActive(hinge[i / bits]) ? scale * gradient : Dtype(0)",
            "scale * gradient",
        ),
    },
    "gpu/code_monitor_kernels.hpp": {
        "kernel: codes differ from the next": ("m < n && !found", "m < n - 1 && !found"),
        "kernel: clipped at 0 alone": ("value == 0 || value == 1", "value == 0"),
        "kernel: highest mean not found": ("ones[i] > most", "ones[i] < most"),
    },
    "gpu/block_sum.hpp": {
        "kernel: half of a block": ("half > 0", "half > 1"),
    },
    "gpu/channel_kernels.hpp": {
        "kernel: shift not subtracted twice": ("value * (g[i] - shift)", "value * g[i]"),
        "kernel: a part without its last image": (
            "(part + 1) * shape.num / parts - begin",
            "(part + 1) * shape.num / parts - begin - 1",
        ),
        "kernel: a part left out": ("part < parts; ++part", "part < parts - 1; ++part"),
        "kernel: factors' gradient overwritten": ("second[c] += AddParts", "second[c] = AddParts"),
        "kernel: sign of a channel's bias": (
            "y[i] = value * factor[c] +",
            "y[i] = value * factor[c] -",
        ),
        "kernel: mean added": ("(x[i] - mean[c])", "(x[i] + mean[c])"),
    },
    "gpu/batch_norm_kernels.hpp": {
        "kernel: running variance biased": ("unbiased * variance", "variance"),
        "kernel: running mean without the past": (
            "running_mean[c] * fraction + mean[c]",
            "mean[c]",
        ),
        "kernel: iterations not counted": (
            "*running_count * fraction + 1",
            "*running_count * fraction",
        ),
        "kernel: sign of the mean gradient": ("y_diff[i] - (sums[c]", "y_diff[i] + (sums[c]"),
    },
    "gpu/batch_reindex_kernels.hpp": {
        "kernel: a row too far is taken": ("row < rows", "row <= rows"),
        "kernel: gradient without the last row": ("m < indexed", "m < indexed - 1"),
        "kernel: gradient of the first part alone": ("p < parts; ++p", "p < 1; ++p"),
    },
}

# By name.
MUTANTS = {
    name: Mutant(source, original, replacement)
    for source, edits in _EDITS.items()
    for name, (original, replacement) in edits.items()
}

# The tests that must detect the mutants of each layer, as a gtest filter.
TESTS = {
    "triplet_ranking_loss_layer": "TripletRankingLoss*",
    "batch_triplet_loss_layer": "BatchTripletLoss*",
    "divide_and_encode_layer": "DivideAndEncode*:FeatureSlices*",
    "fused_convolution_layer": "FusedConvolution*",
    "piecewise_threshold_layer": "PiecewiseThreshold*",
    "ranking_list_loss_layer": "RankingListLoss*",
    "resize_layer": "Resize*",
    "slope_sigmoid_layer": "SlopeSigmoid*",
    "code_monitor_layer": "CodeMonitor*",
    "data/triplet_data_layer": "TripletData*",
    "data/batch_sampler": "TripletData*",
    "data/image_sampler": "ImageSampler*",
    "data/image_database": "ImageTransform*:TripletData*",
    "data/image_transform": "ImageTransform*",
    "data/prefetcher": "Prefetcher*",
    "data/affine_warp": "ImageTransform*:TrivialAugment*",
    "data/trivial_augment": "TrivialAugment*",
    "files/atomic_file": "AtomicFile*:*SnapshotTest*",
    "files/lmdb_pages": "LmdbPages*",
    "gpu": "*",
    "onednn/add_elements": "Onednn*",
    "onednn/clip_layer": "Onednn*",
    "onednn/onednn": "Onednn*",
    "onednn/eltwise_layer": "Onednn*",
    "onednn/split_layer": "Onednn*",
    "onednn/batch_norm_layer": "Onednn*",
    "onednn/convolution_layer": "Onednn*",
    "onednn/direct_convolution": "Onednn*",
    "onednn/dropout_layer": "Onednn*",
    "onednn/fused_convolution_layer": "Onednn*:FusedConvolution*",
    "onednn/gemm_convolution": "Onednn*",
    "onednn/normalization": "Onednn*",
    "onednn/pooling_layer": "Onednn*",
    "onednn/relu_layer": "Onednn*",
    "onednn/scale_layer": "Onednn*",
    "onednn/winograd_convolution": "Onednn*",
}

# What only processors with these instructions run: words in the names of its mutants.
ONLY_WITH = {"avx512_bf16": "bfloat16", "avx512f": "narrow panels"}

# Layers whose mutants may be detected by a timeout: their threads wait for each other.
MAY_HANG = {"data/prefetcher", "data/triplet_data_layer", "data/batch_sampler"}
