#include "layers/files/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

namespace {

bool WriteAll(int file, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file, bytes, size);
    if (written < 0 && errno == EINTR) { continue; }
    if (written < 0) { return false; }
    bytes += written;
    size -= written;
  }
  return true;
}

// Makes a rename in the folder of a path durable. Not every file system can.
void SyncFolder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) { return; }
  fsync(file);
  close(file);
}

// A device or a pipe cannot be replaced.
void WriteToDevice(const std::string& path, const char* bytes, size_t size) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  CHECK(file >= 0 && WriteAll(file, bytes, size))
      << path << " cannot be written (" << std::strerror(errno) << ")";
  close(file);
}

// weakly_canonical() alone does not follow a link to what does not exist yet.
std::filesystem::path TargetOfLinks(std::filesystem::path path) {
  const int kMostLinks = 40;  // as in Linux
  std::error_code none;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, none);
       ++i) {
    path = path.parent_path() / std::filesystem::read_symlink(path, none);
  }
  return path;
}

}  // namespace

void WriteFileAtomically(const std::string& name, const void* bytes,
                         size_t size) {
  std::error_code none;
  const std::filesystem::path target =
      std::filesystem::weakly_canonical(TargetOfLinks(name), none);
  const std::string path = none ? name : target.string();
  if (std::filesystem::is_other(path, none)) {
    WriteToDevice(path, static_cast<const char*>(bytes), size);
    return;
  }
  const std::string partial = path + ".partial";
  const int file =
      open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  CHECK_GE(file, 0) << path << " cannot be written (" << std::strerror(errno)
                    << "); its folder must exist and be yours";
  bool is_written =
      WriteAll(file, static_cast<const char*>(bytes), size) && fsync(file) == 0;
  int reason = errno;
  if (close(file) != 0 && is_written) {
    is_written = false;
    reason = errno;
  }
  if (is_written && std::rename(partial.c_str(), path.c_str()) != 0) {
    is_written = false;
    reason = errno;
  }
  if (!is_written) { unlink(partial.c_str()); }
  CHECK(is_written) << path << " could not be written ("
                    << std::strerror(reason) << "); nothing is left of it."
                    << " Make room on the disk and run the command again";
  SyncFolder(path);
}

#ifdef USE_HDF5

hid_t CreateHDF5InMemory() {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  const size_t increment = 1 << 20;  // bytes that the memory grows by
  CHECK_GE(H5Pset_fapl_core(access, increment, false), 0);
  // The name is not used.
  const hid_t file = H5Fcreate("memory", H5F_ACC_TRUNC, H5P_DEFAULT, access);
  CHECK_GE(file, 0) << "HDF5 cannot create a file in memory";
  H5Pclose(access);
  return file;
}

void WriteHDF5Atomically(hid_t file, const std::string& path) {
  CHECK_GE(H5Fflush(file, H5F_SCOPE_GLOBAL), 0);
  const ssize_t size = H5Fget_file_image(file, NULL, 0);
  CHECK_GT(size, 0) << "HDF5 cannot assemble " << path;
  std::vector<char> image(size);
  CHECK_EQ(H5Fget_file_image(file, image.data(), image.size()), size);
  H5Fclose(file);
  WriteFileAtomically(path, image.data(), image.size());
}

#else

// Without HDF5, Caffe asks this of a model file all the same.
extern "C" htri_t H5Fis_hdf5(const char* path) { return 0; }

#endif

}  // namespace caffe
