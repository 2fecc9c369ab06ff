#ifndef DNNH_LAYERS_BATCH_LABELS_HPP_
#define DNNH_LAYERS_BATCH_LABELS_HPP_

#include <string>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"

namespace caffe {

/**
 * @brief Ends the program if a batch's codes (N x q) and labels do not have the
 *        shapes that losses over a batch take: labels are (N), numbers of
 *        classes, or (N x C), 1 for each label that an image has, 0 for others.
 *
 * @param owner type and name of the layer, for messages
 */
template <typename Dtype>
void CheckLabelShapes(const std::string& owner, const Blob<Dtype>& codes,
                      const Blob<Dtype>& labels) {
  CHECK(codes.num_axes() >= 1 && labels.num_axes() >= 1 && codes.count() > 0
        && labels.count() > 0 && codes.shape(0) == labels.shape(0))
      << owner << ": the codes have shape " << codes.shape_string()
      << ", the labels " << labels.shape_string()
      << "; they must be N x q, and N or N x classes, for example 60 x 48 and"
      << " 60";
  CHECK(labels.num_axes() == 1
        || (labels.num_axes() == 2 && labels.shape(1) > 1))
      << owner << ": the labels have shape " << labels.shape_string()
      << "; numbers of classes have shape N, multi-hot labels have shape"
      << " N x classes, for example 60, or 60 x 10";
}

/// Ends the program if a multi-hot label is neither 1 nor 0.
template <typename Dtype>
void CheckLabels(const std::string& owner, const Blob<Dtype>& labels) {
  if (labels.num_axes() == 1) { return; }
  for (int i = 0; i < labels.count(); ++i) {
    const Dtype label = labels.cpu_data()[i];
    CHECK(label == 0 || label == 1)
        << owner << ": a label is " << label << "; labels of shape N x classes"
        << " are multi-hot, 1 or 0; numbers of classes have shape N";
  }
}

/// How many labels images i and j have in common.
template <typename Dtype>
int CommonLabels(const Blob<Dtype>& labels, int i, int j) {
  const int classes = labels.count(1);
  const Dtype* a = labels.cpu_data() + i * classes;
  const Dtype* b = labels.cpu_data() + j * classes;
  if (labels.num_axes() == 1) { return *a == *b; }
  int common = 0;
  for (int c = 0; c < classes; ++c) { common += a[c] != 0 && b[c] != 0; }
  return common;
}

}  // namespace caffe

#endif  // DNNH_LAYERS_BATCH_LABELS_HPP_
