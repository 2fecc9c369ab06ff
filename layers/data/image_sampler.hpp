#ifndef DNNH_LAYERS_DATA_IMAGE_SAMPLER_HPP_
#define DNNH_LAYERS_DATA_IMAGE_SAMPLER_HPP_

#include <vector>

#include "layers/data/random_stream.hpp"

namespace caffe {

/**
 * @brief Draws images by their labels. An image is a positive of a query if
 *        they share a label, and a negative if they share none.
 *
 * Lai et al., CVPR 2015, section 4.1: triplets are "randomly constructed based
 * on the image class labels".
 */
class ImageSampler {
 public:
  /// @param labels of each image; drawing by labels needs one or more for each
  explicit ImageSampler(const std::vector<std::vector<int>>& labels);

  int classes() const { return static_cast<int>(members_.size()); }
  /// The label of class i.
  int label(int i) const { return labels_[i]; }
  /// The number of images with the label of class i.
  int members(int i) const { return static_cast<int>(members_[i].size()); }

  /// The first image that has no positive; -1 if all have one.
  int FirstWithoutPositive() const;
  /// The first image that has no negative; -1 if all have one.
  int FirstWithoutNegative() const;

  /**
   * @brief Draws query, positive and negative: the query uniform over all
   *        images, the others uniform over its positives and its negatives.
   *
   * Every image must have a positive and a negative.
   */
  void DrawTriplet(RandomStream* random, int triplet[3]) const;

  /// Draws `count` different images, every set of them equally likely.
  std::vector<int> DrawImages(int count, RandomStream* random) const;

  /**
   * @brief Draws `count` different images, and triplets among them: the query
   *        uniform over the images with a positive and a negative in the batch,
   *        the others uniform over these.
   *
   * @param drawn receives the images
   * @param positions receives the positions in `drawn` of the queries, then of
   *        the positives, then of the negatives; its length is three times the
   *        number of triplets
   * @return false if 1,000 draws contained no triplet
   */
  bool DrawTripletsAmongImages(int count, RandomStream* random,
                               std::vector<int>* drawn,
                               std::vector<int>* positions) const;

  /**
   * @brief Draws `classes` different classes, and `images` different images of
   *        each, one class after the other.
   *
   * Every class must have that many. An image with several labels may be drawn
   * for more than one of them. Of `shares` that are drawn from equal streams,
   * no two have a class in common, and each is as random as one drawn alone.
   */
  void DrawClasses(int classes, int images, RandomStream* random,
                   std::vector<int>* drawn, int shares = 1,
                   int share = 0) const;

 private:
  int SharedLabels(int a, int b) const;
  int DrawPositive(int query, RandomStream* random) const;

  std::vector<int> labels_;                   // ascending
  std::vector<std::vector<int>> classes_of_;  // of each image, ascending
  std::vector<std::vector<int>> members_;     // of each class, ascending
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_IMAGE_SAMPLER_HPP_
