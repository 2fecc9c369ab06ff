# The compiler and the libraries of the machine, and what differs between distributions.
# Known: Debian 12 and 13. All names of packages are in cmake/packages.txt.

# Programs of other environments in PATH (conda's protoc, h5cc, ...) belong to other
# versions of the libraries. To build with such an environment on purpose, set
# CMAKE_PREFIX_PATH.
set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)

function(require found name packages)
  if(NOT found)
    message(FATAL_ERROR "${name} was not found: install ${packages} (Debian's names; all are in "
      "cmake/packages.txt), or name its folder with CMAKE_PREFIX_PATH")
  endif()
endfunction()

# __builtin_bit_cast
set(oldest_GNU 11)
set(oldest_Clang 9)
set(oldest ${oldest_${CMAKE_CXX_COMPILER_ID}})
if(oldest AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS oldest)
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} "
    "${CMAKE_CXX_COMPILER_VERSION}; this needs ${oldest} or newer: name another compiler with "
    "the environment variable CXX and delete ${PROJECT_BINARY_DIR}/CMakeCache.txt")
endif()

find_package(Python3 QUIET COMPONENTS Interpreter Development.Module NumPy)
require("${Python3_FOUND}" "Python's headers or NumPy" "python3-dev")
set(boost_python python${Python3_VERSION_MAJOR}${Python3_VERSION_MINOR})
find_package(Boost 1.74 QUIET COMPONENTS filesystem system thread ${boost_python})
require("${Boost_FOUND}" "Boost (1.74 or newer, its Python library for ${boost_python})"
  "libboost-filesystem-dev libboost-python-dev libboost-system-dev libboost-thread-dev")
find_package(gflags QUIET)
require("${gflags_FOUND}" "gflags" "libgflags-dev")
find_package(glog QUIET)
require("${glog_FOUND}" "glog" "libgoogle-glog-dev")
find_package(Protobuf QUIET)
require("${Protobuf_FOUND}" "Protocol Buffers" "libprotobuf-dev protobuf-compiler")
# What older versions generate does not work with today's Python package.
if(Protobuf_VERSION VERSION_LESS 3.19)
  message(FATAL_ERROR "Protocol Buffers in ${Protobuf_INCLUDE_DIRS} are version "
    "${Protobuf_VERSION}; this needs 3.19 or newer")
endif()
require("${Protobuf_PROTOC_EXECUTABLE}" "The program protoc" "protobuf-compiler")
find_package(HDF5 QUIET COMPONENTS C HL)
require("${HDF5_FOUND}" "HDF5" "libhdf5-dev")
# Debian has OpenCV's CMake files only in a package that depends on all of OpenCV.
find_path(OPENCV_INCLUDE_DIR opencv2/imgcodecs.hpp PATH_SUFFIXES opencv4)
require("${OPENCV_INCLUDE_DIR}" "OpenCV" "libopencv-imgcodecs-dev libopencv-imgproc-dev")
foreach(module core imgcodecs imgproc)
  find_library(OPENCV_${module}_LIBRARY opencv_${module})
  require("${OPENCV_${module}_LIBRARY}" "OpenCV's ${module}" "libopencv-${module}-dev")
  list(APPEND OPENCV_LIBRARIES ${OPENCV_${module}_LIBRARY})
endforeach()
find_package(Threads REQUIRED)
find_package(Patch QUIET)
require("${Patch_FOUND}" "The program patch" "patch")
find_package(PkgConfig QUIET)
require("${PkgConfig_FOUND}" "The program pkg-config" "pkg-config")
pkg_check_modules(LMDB QUIET IMPORTED_TARGET lmdb)
require("${LMDB_FOUND}" "LMDB" "liblmdb-dev")
pkg_check_modules(OPENBLAS QUIET IMPORTED_TARGET openblas)
require("${OPENBLAS_FOUND}" "OpenBLAS" "libopenblas-dev")
find_package(OpenMP QUIET COMPONENTS CXX)
require("${OpenMP_FOUND}" "OpenMP" "build-essential")

if(DNNH_TESTS)
  find_package(GTest QUIET)
  require("${GTest_FOUND}" "GoogleTest" "libgtest-dev")
endif()

# oneDNN's own CMake files require OpenCL's headers, which are not needed here.
if(DNNH_ONEDNN)
  find_path(ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
  find_library(ONEDNN_LIBRARY dnnl)
  if(NOT ONEDNN_INCLUDE_DIR OR NOT ONEDNN_LIBRARY)
    message(FATAL_ERROR "oneDNN was not found: install libdnnl-dev, or build with Caffe's own "
      "layers: make ONEDNN=0")
  endif()
  file(STRINGS ${ONEDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h version_lines
    REGEX "^#define DNNL_VERSION_(MAJOR|MINOR) ")
  string(REGEX MATCHALL "[0-9]+" ONEDNN_VERSION "${version_lines}")
  list(JOIN ONEDNN_VERSION . ONEDNN_VERSION)
  if(ONEDNN_VERSION VERSION_LESS 2.6 OR NOT ONEDNN_VERSION VERSION_LESS 4)
    message(FATAL_ERROR "oneDNN in ${ONEDNN_INCLUDE_DIR} is version ${ONEDNN_VERSION}; this "
      "needs 2.6 or a later 2 or 3, or build with Caffe's own layers: make ONEDNN=0")
  endif()
else()
  set(ONEDNN_VERSION "none; Caffe's own layers, which are slower")
endif()
