# The targets made from Caffe's source: caffe (library), caffe_tool (the
# `caffe` program) and pycaffe. Caffe's source is compiled in place. What
# current compilers and libraries need is force-included from cmake/compat/,
# file by file. One class, SyncedMemory, is patched: it is compiled from a copy
# to which the build applies cmake/patches/syncedmem.patch.

# --- caffe.proto with our fields -------------------------------------------
set(generated_dir ${PROJECT_BINARY_DIR}/generated)
set(caffe_proto ${generated_dir}/caffe/proto/caffe.proto)
file(MAKE_DIRECTORY ${generated_dir}/caffe/proto ${PROJECT_BINARY_DIR}/python/caffe/proto)

add_custom_command(
  OUTPUT ${caffe_proto}
  COMMAND ${CMAKE_COMMAND}
    -DCAFFE_PROTO=${CAFFE_SOURCE_DIR}/src/caffe/proto/caffe.proto
    -DDNNH_PROTO=${PROJECT_SOURCE_DIR}/layers/dnnh.proto
    -DOUTPUT=${caffe_proto}
    -P ${PROJECT_SOURCE_DIR}/cmake/ExtendCaffeProto.cmake
  DEPENDS
    ${CAFFE_SOURCE_DIR}/src/caffe/proto/caffe.proto
    ${PROJECT_SOURCE_DIR}/layers/dnnh.proto
    ${PROJECT_SOURCE_DIR}/cmake/ExtendCaffeProto.cmake
  COMMENT "Extending caffe.proto with layers/dnnh.proto"
  VERBATIM)

add_custom_command(
  OUTPUT
    ${generated_dir}/caffe/proto/caffe.pb.cc
    ${generated_dir}/caffe/proto/caffe.pb.h
    ${PROJECT_BINARY_DIR}/python/caffe/proto/caffe_pb2.py
  COMMAND protobuf::protoc
    --proto_path=${generated_dir}/caffe/proto
    --cpp_out=${generated_dir}/caffe/proto
    --python_out=${PROJECT_BINARY_DIR}/python/caffe/proto
    ${caffe_proto}
  DEPENDS ${caffe_proto}
  COMMENT "Compiling caffe.proto"
  VERBATIM)

# --- SyncedMemory, patched ---------------------------------------------------
set(patched_dir ${PROJECT_BINARY_DIR}/generated/patched)
set(patched_files
  ${patched_dir}/include/caffe/syncedmem.hpp ${patched_dir}/src/caffe/syncedmem.cpp)
add_custom_command(
  OUTPUT ${patched_files}
  COMMAND ${CMAKE_COMMAND}
    -DCAFFE=${CAFFE_SOURCE_DIR} -DOUTPUT=${patched_dir}
    -DPATCH_PROGRAM=${Patch_EXECUTABLE}
    -DPATCH=${PROJECT_SOURCE_DIR}/cmake/patches/syncedmem.patch
    -P ${PROJECT_SOURCE_DIR}/cmake/ApplyPatch.cmake
  DEPENDS
    ${CAFFE_SOURCE_DIR}/include/caffe/syncedmem.hpp
    ${CAFFE_SOURCE_DIR}/src/caffe/syncedmem.cpp
    ${PROJECT_SOURCE_DIR}/cmake/patches/syncedmem.patch
    ${PROJECT_SOURCE_DIR}/cmake/ApplyPatch.cmake
  COMMENT "Patching SyncedMemory"
  VERBATIM)

# --- the library -------------------------------------------------------------
file(GLOB caffe_sources
  ${CAFFE_SOURCE_DIR}/src/caffe/*.cpp
  ${CAFFE_SOURCE_DIR}/src/caffe/layers/*.cpp
  ${CAFFE_SOURCE_DIR}/src/caffe/solvers/*.cpp
  ${CAFFE_SOURCE_DIR}/src/caffe/util/*.cpp)
if(DNNH_CUDA)
  file(GLOB caffe_cuda_sources
    ${CAFFE_SOURCE_DIR}/src/caffe/layers/*.cu
    ${CAFFE_SOURCE_DIR}/src/caffe/solvers/*.cu
    ${CAFFE_SOURCE_DIR}/src/caffe/util/*.cu)
  list(APPEND caffe_sources ${caffe_cuda_sources})
endif()

list(REMOVE_ITEM caffe_sources ${CAFFE_SOURCE_DIR}/src/caffe/syncedmem.cpp)
add_library(caffe SHARED
  ${caffe_sources} ${generated_dir}/caffe/proto/caffe.pb.cc
  ${patched_files})
# The patched header must be found before Caffe's own.
target_include_directories(caffe SYSTEM PUBLIC
  ${patched_dir}/include ${generated_dir} ${CAFFE_SOURCE_DIR}/include
  ${HDF5_INCLUDE_DIRS} ${OPENCV_INCLUDE_DIR})
target_compile_definitions(caffe PUBLIC
  CAFFE_VERSION=1.0.0 USE_OPENCV USE_LMDB USE_HDF5)
target_link_libraries(caffe PUBLIC
  Boost::filesystem Boost::system Boost::thread
  gflags glog::glog protobuf::libprotobuf
  ${HDF5_C_LIBRARIES} ${HDF5_HL_LIBRARIES} PkgConfig::LMDB PkgConfig::OPENBLAS
  ${OPENCV_LIBRARIES}
  Threads::Threads)
# Caffe's code dates from 2014 to 2018; we do not fix its warnings.
target_compile_options(caffe PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-w>)

function(force_include header)
  foreach(source ${ARGN})
    set_property(SOURCE ${CAFFE_SOURCE_DIR}/${source} APPEND PROPERTY
      COMPILE_OPTIONS -include ${PROJECT_SOURCE_DIR}/cmake/compat/${header})
    set_property(SOURCE ${CAFFE_SOURCE_DIR}/${source} APPEND PROPERTY
      OBJECT_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/compat/${header})
  endforeach()
endfunction()
force_include(protobuf.hpp src/caffe/util/io.cpp)
force_include(opencv4.hpp
  src/caffe/util/io.cpp src/caffe/layers/window_data_layer.cpp)

if(DNNH_CUDA)
  force_include(cuda13.hpp src/caffe/common.cpp)
  force_include(cudnn9.hpp src/caffe/layers/cudnn_conv_layer.cpp
    src/caffe/layers/cudnn_deconv_layer.cpp)
  target_link_libraries(caffe PUBLIC dnnh_cuda)
  target_compile_options(caffe PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-w>)
else()
  target_compile_definitions(caffe PUBLIC CPU_ONLY)
endif()

# --- the program -----------------------------------------------------------
add_executable(caffe_tool ${CAFFE_SOURCE_DIR}/tools/caffe.cpp)
target_compile_options(caffe_tool PRIVATE -w)
target_link_libraries(caffe_tool PRIVATE dnnh_layers)
set_target_properties(caffe_tool PROPERTIES
  OUTPUT_NAME caffe
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

# --- the Python module -------------------------------------------------------
Python3_add_library(pycaffe MODULE ${CAFFE_SOURCE_DIR}/python/caffe/_caffe.cpp)
target_compile_options(pycaffe PRIVATE -w)
target_link_libraries(pycaffe PRIVATE
  dnnh_layers Boost::python${Python3_VERSION_MAJOR}${Python3_VERSION_MINOR}
  Python3::NumPy)
set_target_properties(pycaffe PROPERTIES
  PREFIX "" OUTPUT_NAME _caffe SUFFIX .so
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/python/caffe)

file(WRITE ${PROJECT_BINARY_DIR}/python/caffe/proto/__init__.py "")
file(GLOB pycaffe_modules ${CAFFE_SOURCE_DIR}/python/caffe/*.py)
file(COPY ${pycaffe_modules} ${CAFFE_SOURCE_DIR}/python/caffe/imagenet
  DESTINATION ${PROJECT_BINARY_DIR}/python/caffe)
