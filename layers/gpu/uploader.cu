#include "layers/gpu/uploader.hpp"

#include "caffe/common.hpp"

namespace caffe {

Uploader::Uploader() {
  CUDA_CHECK(cudaGetDevice(&device_));
  // The default stream waits for those without this flag.
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  CUDA_CHECK(cudaEventCreateWithFlags(&released_, cudaEventDisableTiming));
}

Uploader::~Uploader() {
  cudaStreamDestroy(stream_);
  cudaEventDestroy(released_);
}

void Uploader::Release() { CUDA_CHECK(cudaEventRecord(released_, 0)); }

void Uploader::Upload(const void* from, void* to, size_t bytes) {
  CUDA_CHECK(cudaSetDevice(device_));  // of this thread
  CUDA_CHECK(cudaStreamWaitEvent(stream_, released_, 0));
  CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_));
}

void Uploader::Wait() { CUDA_CHECK(cudaStreamSynchronize(stream_)); }

}  // namespace caffe
