// OpenCV 4 removed the C names of the imread flags from the headers that
// Caffe includes; its src/caffe/util/io.cpp and
// src/caffe/layers/window_data_layer.cpp still use them.
#ifndef DNNH_COMPAT_OPENCV4_HPP_
#define DNNH_COMPAT_OPENCV4_HPP_

#include <opencv2/imgcodecs.hpp>

#define CV_LOAD_IMAGE_GRAYSCALE cv::IMREAD_GRAYSCALE
#define CV_LOAD_IMAGE_COLOR cv::IMREAD_COLOR

#endif  // DNNH_COMPAT_OPENCV4_HPP_
