// In place of OpenCV's header of this name. OpenCV 4 removed the C names of the
// imread flags that Caffe's src/caffe/util/io.cpp and
// src/caffe/layers/window_data_layer.cpp use.
#ifndef DNNH_COMPAT_HIGHGUI_C_H_
#define DNNH_COMPAT_HIGHGUI_C_H_

#include <opencv2/highgui/highgui.hpp>

#define CV_LOAD_IMAGE_GRAYSCALE cv::IMREAD_GRAYSCALE
#define CV_LOAD_IMAGE_COLOR cv::IMREAD_COLOR

#endif  // DNNH_COMPAT_HIGHGUI_C_H_
