#ifndef DNNH_LAYERS_IMAGE_SAMPLER_HPP_
#define DNNH_LAYERS_IMAGE_SAMPLER_HPP_

#include <vector>

#include "layers/random_stream.hpp"

namespace caffe {

/**
 * @brief Draws images by their labels. Two images are similar where they share
 *        a label, dissimilar where they share none.
 *
 * Lai et al., CVPR 2015, section 4.1: triplets are "randomly constructed based
 * on the image class labels".
 */
class ImageSampler {
 public:
  /// @param labels the labels of each image; one or more, to draw by them
  explicit ImageSampler(const std::vector<std::vector<int> >& labels);

  int classes() const { return static_cast<int>(members_.size()); }
  /// The label that class i stands for.
  int label(int i) const { return labels_[i]; }
  /// How many images have the label of class i.
  int members(int i) const { return static_cast<int>(members_[i].size()); }

  /// The first image that no other one is similar to; -1 if there is none.
  int FirstWithoutSimilar() const;
  /// The first image that no other one is dissimilar to; -1 if there is none.
  int FirstWithoutDissimilar() const;

  /**
   * @brief Draws query, similar and dissimilar image: the query uniform over
   *        all, the similar one uniform over the others that are similar to it,
   *        the dissimilar one uniform over those that are.
   *
   * Every image must have one of either kind.
   */
  void DrawTriplet(RandomStream* random, int triplet[3]) const;

  /// Draws `count` different images, every set of them equally likely.
  std::vector<int> DrawImages(int count, RandomStream* random) const;

  /**
   * @brief Draws `count` different images, and triplets among them: the query
   *        uniform over those that have a partner of either kind in the batch,
   *        the others uniform over its partners.
   *
   * @param drawn gets the images
   * @param places gets where in `drawn` the queries are, then the similar, then
   *        the dissimilar ones; its length is three times the triplets' number
   * @return false where a thousand batches had no triplet
   */
  bool DrawBatch(int count, RandomStream* random, std::vector<int>* drawn,
                 std::vector<int>* places) const;

  /**
   * @brief Draws `classes` different classes, and of each `images` different
   *        ones, class after class.
   *
   * No class may have fewer. An image with several labels may come for more
   * than one of them. Of `shares` that are drawn together, from equal streams,
   * no two have a class in common, and each is as random as one drawn alone.
   */
  void DrawClasses(int classes, int images, RandomStream* random,
                   std::vector<int>* drawn, int shares = 1, int share = 0) const;

 private:
  int Shared(int a, int b) const;
  int DrawSimilar(int query, RandomStream* random) const;

  std::vector<int> labels_;                     // ascending
  std::vector<std::vector<int> > classes_of_;   // of each image, ascending
  std::vector<std::vector<int> > members_;      // of each class, ascending
};

}  // namespace caffe

#endif  // DNNH_LAYERS_IMAGE_SAMPLER_HPP_
