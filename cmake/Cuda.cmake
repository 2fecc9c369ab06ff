# The CUDA half: target dnnh_cuda carries the toolkit's libraries. Where the
# toolkit comes without cuBLAS or cuRAND, they are taken from PyPI, in the
# versions that go with CUDA 13.0.
set(CMAKE_CUDA_ARCHITECTURES 80 90 CACHE STRING
  "Compute capabilities to build for: 80 is A100, 90 is H100 and H200")
# CCCL, which CUDA 13's headers bring in, demands C++17.
set(CMAKE_CUDA_STANDARD 17)
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "There is no CUDA compiler here: put nvcc of CUDA 13 into PATH, "
    "or name it with the environment variable CUDACXX, or build without CUDA=1")
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13 REQUIRED)

add_library(dnnh_cuda INTERFACE)
target_link_libraries(dnnh_cuda INTERFACE CUDA::cudart)

if(TARGET CUDA::cublas AND TARGET CUDA::curand)
  target_link_libraries(dnnh_cuda INTERFACE CUDA::cublas CUDA::curand)
else()
  set(wheels_dir ${PROJECT_BINARY_DIR}/cuda-wheels)
  if(NOT EXISTS ${wheels_dir}/complete)
    message(NOTICE "The CUDA toolkit has no cuBLAS or cuRAND: taking them from PyPI (460 MB)")
    execute_process(
      COMMAND ${Python3_EXECUTABLE} -m pip install --quiet --no-deps --upgrade
        --target ${wheels_dir}
        nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
      RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "cuBLAS and cuRAND could not be fetched from PyPI; "
        "check the network, or install them with your CUDA toolkit, then run make CUDA=1 again")
    endif()
    file(TOUCH ${wheels_dir}/complete)
  endif()
  set(cuda_libraries ${wheels_dir}/nvidia/cu13)
  # The wheels hold versioned names only, so that -lcublas would not find them.
  target_include_directories(dnnh_cuda SYSTEM INTERFACE ${cuda_libraries}/include)
  target_link_libraries(dnnh_cuda INTERFACE
    ${cuda_libraries}/lib/libcublas.so.13
    ${cuda_libraries}/lib/libcublasLt.so.13
    ${cuda_libraries}/lib/libcurand.so.10)
endif()
