#ifndef DNNH_LAYERS_FILES_LMDB_PAGES_HPP_
#define DNNH_LAYERS_FILES_LMDB_PAGES_HPP_

#include <cstddef>
#include <string>

namespace caffe {

/**
 * @brief Checks the pages of an LMDB before LMDB maps them; returns what is
 *        wrong, or nothing.
 *
 * LMDB does not validate its file: a damaged page makes it read outside of the
 * map, and the process ends with a bus error or a segmentation fault. This
 * walks the tree as LMDB does: every page is where its number says, every node
 * lies in its page, every value in the file, the keys are in order, and there
 * are as many as the database says. Values in pages of their own (more than 2
 * KB) are not read, so a database of large images takes little time.
 *
 * Only databases like Caffe's are accepted: unnamed, one value for each key.
 *
 * @param folder the LMDB's folder, which has data.mdb
 * @return the end of a sentence that begins with the file's name, for example
 *         "is damaged: page 7 has a node outside of it"; empty if the file is
 *         whole.
 */
std::string LmdbDamage(const std::string& folder);

}  // namespace caffe

/// The same for Python's ctypes: copies the text into `buffer`, cut to `size`
/// bytes with its final zero, and returns its full length.
extern "C" size_t dnnh_lmdb_damage(const char* folder, char* buffer,
                                   size_t size);

#endif  // DNNH_LAYERS_FILES_LMDB_PAGES_HPP_
