#ifndef DNNH_LAYERS_FILES_ATOMIC_FILE_HPP_
#define DNNH_LAYERS_FILES_ATOMIC_FILE_HPP_

#include <hdf5.h>

#include <cstddef>
#include <string>

namespace caffe {

/**
 * @brief Writes a file atomically: after a crash, a kill or a full disk, the
 *        path has the old content or the new one, never a part.
 *
 * The bytes are written to `path` + ".partial", synchronized with the disk and
 * renamed. A file of that name that an interrupted run left is overwritten.
 * A link stays, and its target is written. A device or a pipe is written to.
 * An error ends the program with a sentence that names the file and the reason;
 * nothing is left of the new content.
 */
void WriteFileAtomically(const std::string& path, const void* bytes,
                         size_t size);

/// Creates an HDF5 file in memory, for WriteHDF5Atomically. HDF5 itself may
/// crash where a disk is full.
hid_t CreateHDF5InMemory();

/// Closes a file of CreateHDF5InMemory and writes it as WriteFileAtomically
/// does. All its groups and data sets must be closed.
void WriteHDF5Atomically(hid_t file, const std::string& path);

}  // namespace caffe

#endif  // DNNH_LAYERS_FILES_ATOMIC_FILE_HPP_
