# The CUDA build: target dnnh_cuda has the toolkit's libraries, cuDNN 9 and NCCL.
# Libraries that the toolkit lacks are fetched from PyPI, in the versions that match
# CUDA 13.0.
set(CMAKE_CUDA_ARCHITECTURES 80 90 CACHE STRING
  "Compute capabilities to build for: 80 is A100, 90 is H100 and H200")
# CCCL, which CUDA 13's headers include, requires C++17.
set(CMAKE_CUDA_STANDARD 17)
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  unset(CMAKE_CUDA_COMPILER CACHE)  # so that it is looked for again
  message(FATAL_ERROR "There is no CUDA compiler: add nvcc of CUDA 13 to PATH, "
    "or set the environment variable CUDACXX to it, or build without CUDA=1")
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13 REQUIRED)

add_library(dnnh_cuda INTERFACE)
target_link_libraries(dnnh_cuda INTERFACE CUDA::cudart)
# nvcc finds CCCL by itself; Caffe includes it from a .cpp file as well.
list(TRANSFORM CUDAToolkit_INCLUDE_DIRS APPEND /cccl OUTPUT_VARIABLE cccl)
target_include_directories(dnnh_cuda SYSTEM INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${cccl}>)

# Fetches a package from PyPI, once, into a folder of its own: all of them have a
# folder `nvidia`, and pip would replace one by the other.
function(fetch_wheel package folder)
  set(target ${PROJECT_BINARY_DIR}/cuda-wheels/${package})
  set(${folder} ${target}/nvidia PARENT_SCOPE)
  if(EXISTS ${target}.complete)
    return()
  endif()
  message(NOTICE "Fetching ${package} from PyPI")
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -m pip install --quiet --no-deps --upgrade
      --target ${target} ${package}
    RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${package} could not be fetched from PyPI; check the network, "
      "or install it with your CUDA toolkit, then run make CUDA=1 again")
  endif()
  file(TOUCH ${target}.complete)
endfunction()

# The wheels have only versioned names, which -lcublas would not find.
if(TARGET CUDA::cublas AND TARGET CUDA::curand)
  target_link_libraries(dnnh_cuda INTERFACE CUDA::cublas CUDA::curand)
else()
  fetch_wheel(nvidia-cublas==13.1.0.3 cublas)
  fetch_wheel(nvidia-curand==10.4.0.35 curand)
  target_include_directories(dnnh_cuda SYSTEM INTERFACE
    ${cublas}/cu13/include ${curand}/cu13/include)
  target_link_libraries(dnnh_cuda INTERFACE
    ${cublas}/cu13/lib/libcublas.so.13
    ${cublas}/cu13/lib/libcublasLt.so.13
    ${curand}/cu13/lib/libcurand.so.10)
endif()

# cuDNN for convolution and activations; NCCL for several GPUs. The system's, if it
# has the required major version.
function(use_library name package header library major)
  find_path(${name}_INCLUDE_DIR ${header})
  find_library(${name}_LIBRARY NAMES ${library})
  set(version "")
  foreach(candidate ${header} ${library}_version.h)
    if(EXISTS ${${name}_INCLUDE_DIR}/${candidate})
      file(STRINGS ${${name}_INCLUDE_DIR}/${candidate} line
        REGEX "^#define ${name}_MAJOR +[0-9]+")
      string(REGEX MATCH "[0-9]+$" number "${line}")
      string(APPEND version "${number}")
    endif()
  endforeach()
  if(NOT version STREQUAL major OR NOT ${name}_LIBRARY)
    fetch_wheel(${package} wheel)
    set(${name}_INCLUDE_DIR ${wheel}/${library}/include)
    file(GLOB ${name}_LIBRARY ${wheel}/${library}/lib/lib${library}.so*)
  endif()
  target_include_directories(dnnh_cuda SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
  target_link_libraries(dnnh_cuda INTERFACE ${${name}_LIBRARY})
  target_compile_definitions(dnnh_cuda INTERFACE USE_${name})
endfunction()
use_library(CUDNN nvidia-cudnn-cu13==9.19.0.56 cudnn.h cudnn 9)
use_library(NCCL nvidia-nccl-cu13==2.28.9 nccl.h nccl 2)
