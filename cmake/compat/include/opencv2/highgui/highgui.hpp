// In place of OpenCV's header of this name. Caffe reads images, which is
// imgcodecs' now; OpenCV's windows would bring a desktop's libraries (150
// packages of Debian).
#ifndef DNNH_COMPAT_HIGHGUI_HPP_
#define DNNH_COMPAT_HIGHGUI_HPP_

#include <opencv2/imgcodecs.hpp>

#endif  // DNNH_COMPAT_HIGHGUI_HPP_
