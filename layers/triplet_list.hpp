#ifndef DNNH_LAYERS_TRIPLET_LIST_HPP_
#define DNNH_LAYERS_TRIPLET_LIST_HPP_

#include <string>
#include <vector>

namespace caffe {

/**
 * @brief Reads a list of triplets from an HDF5 file.
 *
 * The file has a data set `triplets` of whole numbers, shape (count, 3): query,
 * similar and dissimilar image, numbered as the image database has them. Its
 * attribute `images`, if there, says how many images that is.
 *
 * What is wrong with the file ends the program with a sentence that begins with
 * `owner`, e.g. "TripletData layer 'images'".
 *
 * @return 3 x count numbers from 0 to images - 1
 */
std::vector<int> ReadTripletList(const std::string& owner,
                                 const std::string& file, int images);

}  // namespace caffe

#endif  // DNNH_LAYERS_TRIPLET_LIST_HPP_
