#ifndef DNNH_TESTS_LAYERS_GPU_SERIAL_GRID_HPP_
#define DNNH_TESTS_LAYERS_GPU_SERIAL_GRID_HPP_

namespace caffe {
namespace gpu {

const int kSerialGrids = 4;

/// With which of its grids the serial launcher starts kernels, from 0; tests
/// may set it.
int& SerialGrid();

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_GPU_SERIAL_GRID_HPP_
