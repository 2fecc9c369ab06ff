// protobuf 3.6 removed the second argument (a threshold for warnings) of
// CodedInputStream::SetTotalBytesLimit; Caffe's src/caffe/util/io.cpp passes
// it. Including the header first keeps the macro from changing its declaration.
#ifndef DNNH_COMPAT_PROTOBUF_HPP_
#define DNNH_COMPAT_PROTOBUF_HPP_

#include <google/protobuf/io/coded_stream.h>

#define SetTotalBytesLimit(limit, warning_threshold) SetTotalBytesLimit(limit)

#endif  // DNNH_COMPAT_PROTOBUF_HPP_
