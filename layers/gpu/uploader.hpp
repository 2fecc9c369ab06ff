#ifndef DNNH_LAYERS_GPU_UPLOADER_HPP_
#define DNNH_LAYERS_GPU_UPLOADER_HPP_

#include <cuda_runtime_api.h>

#include <cstddef>

namespace caffe {

/**
 * @brief Copies batches to a GPU on its own stream, while the net computes on
 *        the previous batch.
 *
 * The GPU is the current one of the thread that makes the Uploader. Memory to
 * copy from should be pinned, as that of blobs is in GPU mode.
 */
class Uploader {
 public:
  Uploader();
  ~Uploader();

  /// The net's thread calls this before it gives batches back: they are not
  /// overwritten until the GPU has done all that the net started so far.
  void Release();

  /// Starts a copy. Any thread may call this.
  void Upload(const void* from, void* to, size_t bytes);
  /// Waits for all copies.
  void Wait();

 private:
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  int device_;
  cudaStream_t stream_;
  cudaEvent_t released_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_UPLOADER_HPP_
