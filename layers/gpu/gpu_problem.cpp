#include "layers/gpu/gpu_problem.hpp"

#include <sstream>

#ifndef CPU_ONLY
#include <cuda_runtime_api.h>
#endif

namespace caffe {

#ifdef CPU_ONLY

std::string GpuProblem(int device) {
  return "this build of Caffe has no CUDA; make one with 'make CUDA=1'";
}

#else

static std::string Version(int number) {  // 13000 is 13.0
  return std::to_string(number / 1000) + "."
      + std::to_string(number % 1000 / 10);
}

// Why no GPU of this machine can be used.
static std::string DriverProblem(cudaError_t error) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    return "there is no NVIDIA driver on this machine; install one (in a "
           "container: start it with --gpus all), or leave the GPU out";
  }
  if (driver < CUDART_VERSION / 1000 * 1000) {
    return "the NVIDIA driver is for CUDA " + Version(driver)
        + ", this build for " + Version(CUDART_VERSION) + "; update the driver";
  }
  return std::string("no GPU can be used (") + cudaGetErrorString(error) + ")";
}

std::string GpuProblem(int device) {
  const std::string name = "GPU " + std::to_string(device);
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();  // clears it
    return DriverProblem(error);
  }
  if (device < 0 || device >= count) {
    return "there is no " + name + "; this machine has "
        + (count == 1 ? "one, number 0"
                      : std::to_string(count) + ", numbers 0 to "
                   + std::to_string(count - 1));
  }
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (10 * major + minor < DNNH_OLDEST_GPU) {
    return name + " has compute capability " + std::to_string(major) + "."
        + std::to_string(minor) + "; this build is for "
        + std::to_string(DNNH_OLDEST_GPU / 10) + "."
        + std::to_string(DNNH_OLDEST_GPU % 10)
        + " and newer: build with -DCMAKE_CUDA_ARCHITECTURES";
  }
  error = cudaSetDevice(device);
  if (error == cudaSuccess) { error = cudaFree(0); }  // makes a context
  cudaGetLastError();
  switch (error) {
    case cudaSuccess: return "";
    case cudaErrorDevicesUnavailable:
      return name + " is in exclusive-process mode and in use by another"
          + " process; wait for it, or name another GPU";
    case cudaErrorMemoryAllocation:
      return name + " has no memory left; end other programs on it, or name"
          + " another GPU";
    default:
      return name + " cannot be used (" + cudaGetErrorString(error) + ")";
  }
}

std::string GpuMemoryProblem(size_t bytes) {
  cudaGetLastError();
  int device = 0;
  size_t available = 0, total = 0;
  cudaGetDevice(&device);
  cudaMemGetInfo(&available, &total);
  std::ostringstream message;
  message << "GPU " << device << " has " << (available >> 20) << " of its "
          << (total >> 20) << " MiB free, and " << (bytes >> 20) << " MiB more"
          << " are needed: use smaller batches or another GPU, or end other"
          << " programs on it";
  return message.str();
}

#endif

}  // namespace caffe
