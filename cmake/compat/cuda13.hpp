// CUDA 13 removed three fields of cudaDeviceProp that Caffe's DeviceQuery in
// src/caffe/common.cpp prints. A subclass restores them, from
// cudaDeviceGetAttribute, and takes the struct's name in that file.
#ifndef DNNH_COMPAT_CUDA13_HPP_
#define DNNH_COMPAT_CUDA13_HPP_

#include <cuda_runtime_api.h>

#if CUDART_VERSION >= 13000
namespace dnnh_compat {

struct DeviceProp : public cudaDeviceProp {
  int clockRate;
  int deviceOverlap;
  int kernelExecTimeoutEnabled;
};

inline cudaError_t GetDeviceProperties(DeviceProp* prop, int device) {
  cudaError_t status = cudaGetDeviceProperties(prop, device);
  if (status == cudaSuccess) {
    status =
        cudaDeviceGetAttribute(&prop->clockRate, cudaDevAttrClockRate, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&prop->deviceOverlap, cudaDevAttrGpuOverlap,
                                    device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&prop->kernelExecTimeoutEnabled,
                                    cudaDevAttrKernelExecTimeout, device);
  }
  return status;
}

}  // namespace dnnh_compat

// cudaGetDeviceProperties may itself be a macro of the toolkit: replace it.
#undef cudaGetDeviceProperties
#define cudaDeviceProp dnnh_compat::DeviceProp
#define cudaGetDeviceProperties dnnh_compat::GetDeviceProperties
#endif

#endif  // DNNH_COMPAT_CUDA13_HPP_
