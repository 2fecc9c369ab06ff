#ifndef DNNH_LAYERS_DATA_TRIPLET_LIST_HPP_
#define DNNH_LAYERS_DATA_TRIPLET_LIST_HPP_

#include <string>
#include <vector>

namespace caffe {

/**
 * @brief Reads listed triplets from an HDF5 file.
 *
 * The file has a data set `triplets` of integers, shape (count, 3): query,
 * positive and negative, by their number in the image database. Its optional
 * attribute `images` is the number of images in that database.
 *
 * An error in the file ends the program with a sentence that begins with
 * `owner`, e.g. "TripletData layer 'images'".
 *
 * @return 3 x count numbers from 0 to images - 1
 */
std::vector<int> ReadTripletList(const std::string& owner,
                                 const std::string& file, int images);

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_TRIPLET_LIST_HPP_
