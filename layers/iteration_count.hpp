#ifndef DNNH_LAYERS_ITERATION_COUNT_HPP_
#define DNNH_LAYERS_ITERATION_COUNT_HPP_

#include <cmath>
#include <limits>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/math_functions.hpp"

#include "layers/given_blobs.hpp"

namespace caffe {

/**
 * @brief Gives a layer with a schedule its only blob, of shape (1): the number
 *        of training iterations begun so far.
 *
 * It is saved with the net, so that training resumed from a snapshot continues
 * the schedule. Its learning rate and decay are always 0. As a float it counts
 * exactly to 2^24.
 */
template <typename Dtype>
void SetUpIterationCount(LayerParameter* param,
                         std::vector<shared_ptr<Blob<Dtype>>>* blobs) {
  if (blobs->empty()) {
    blobs->emplace_back(new Blob<Dtype>(std::vector<int>(1, 1)));
    caffe_set(1, Dtype(0), blobs->front()->mutable_cpu_data());
  }
  CheckGivenBlobs(*param, *blobs, {{1}});
  // No solver may update the count.
  if (param->param_size() == 0) { param->add_param(); }
  param->mutable_param(0)->set_lr_mult(0);
  param->mutable_param(0)->set_decay_mult(0);
}

/**
 * @brief The number of training iterations before this one. To be called once
 *        in each Forward.
 *
 * The count increases by one in each iteration of the solver in the TRAIN
 * phase, whatever iter_size is, and never in TEST.
 */
template <typename Dtype>
Dtype CountIteration(const LayerParameter& param, Phase phase,
                     Blob<Dtype>* count) {
  const Dtype iteration = count->cpu_data()[0];
  CHECK_GE(iteration, 0) << param.type() << " layer '" << param.name()
                         << "': the number of training iterations is not 0 or"
                         << " more; the model file is not of this net";
  if (phase != TRAIN) { return iteration; }
  // With iter_size above 1 the solver runs Forward several times per
  // iteration. It clears all diffs when an iteration starts, so a diff of the
  // count that is not 0 means that this iteration is counted already. The
  // mark is the smallest normal number: its square is 0, so it changes
  // neither the norm that clip_gradients computes, nor any update.
  Dtype* mark = count->mutable_cpu_diff();
  if (mark[0] != 0) { return iteration - 1; }
  mark[0] = std::numeric_limits<Dtype>::min();
  count->mutable_cpu_data()[0] += 1;
  return iteration;
}

/// initial, multiplied by gamma after every `stepsize` iterations.
template <typename Dtype>
Dtype StepSchedule(Dtype initial, Dtype gamma, uint32_t stepsize,
                   Dtype iteration) {
  return initial * std::pow(gamma, std::floor(iteration / stepsize));
}

}  // namespace caffe

#endif  // DNNH_LAYERS_ITERATION_COUNT_HPP_
