#ifndef DNNH_LAYERS_HOST_DEVICE_HPP_
#define DNNH_LAYERS_HOST_DEVICE_HPP_

// Marks the small formulas that a layer's CPU and CUDA implementations share,
// so that the two cannot diverge.
#ifdef __CUDACC__
#define DNNH_HOST_DEVICE __host__ __device__
#else
#define DNNH_HOST_DEVICE
#endif

#endif  // DNNH_LAYERS_HOST_DEVICE_HPP_
