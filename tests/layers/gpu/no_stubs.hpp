// Force-included where layers are compiled for the serial kernels: the layers
// of a build without CUDA get their Forward_gpu and Backward_gpu from
// serial_kernels.cpp.
#include "caffe/util/device_alternate.hpp"

#undef STUB_GPU
#define STUB_GPU(classname)
#undef STUB_GPU_FORWARD
#define STUB_GPU_FORWARD(classname, funcname)
