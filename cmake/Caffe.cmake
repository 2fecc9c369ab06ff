# The targets made from Caffe's source: caffe (library), caffe_tool (the `caffe`
# program) and pycaffe. Caffe's source is compiled in place. What current compilers
# and libraries need is force-included from cmake/compat/, file by file, or is found
# in cmake/compat/include/ before the libraries' own. The files that a patch of
# cmake/patches/ names are taken from patched copies.

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

# --- patches -----------------------------------------------------------------
set(patches gpu lmdb pycaffe syncedmem training)
set(patched_files)   # names in Caffe's source, src/caffe/net.cpp
foreach(name ${patches})
  set(patch ${PROJECT_SOURCE_DIR}/cmake/patches/${name}.patch)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${patch})
  file(STRINGS ${patch} headers REGEX "^--- a/")
  list(TRANSFORM headers REPLACE "^--- a/" "" OUTPUT_VARIABLE files_of_${name})
  list(APPEND patched_files ${files_of_${name}})
endforeach()
# Where other files are patched, the folder is another one, so that all is compiled again:
# what includes a header of Caffe's own does not depend on a patched one that is new.
string(MD5 patched_names "${patched_files}")
set(patched_dir ${PROJECT_BINARY_DIR}/generated/patched/${patched_names})
file(GLOB old_copies ${PROJECT_BINARY_DIR}/generated/patched/*)
list(REMOVE_ITEM old_copies ${patched_dir})
if(old_copies)
  file(REMOVE_RECURSE ${old_copies})
endif()
foreach(name ${patches})
  set(patch ${PROJECT_SOURCE_DIR}/cmake/patches/${name}.patch)
  set(files ${files_of_${name}})
  list(TRANSFORM files PREPEND ${CAFFE_SOURCE_DIR}/ OUTPUT_VARIABLE originals)
  list(TRANSFORM files PREPEND ${patched_dir}/ OUTPUT_VARIABLE copies)
  add_custom_command(
    OUTPUT ${copies}
    COMMAND ${CMAKE_COMMAND}
      -DCAFFE=${CAFFE_SOURCE_DIR} -DOUTPUT=${patched_dir}
      -DPATCH_PROGRAM=${Patch_EXECUTABLE} -DPATCH=${patch}
      -P ${PROJECT_SOURCE_DIR}/cmake/ApplyPatch.cmake
    DEPENDS ${originals} ${patch} ${PROJECT_SOURCE_DIR}/cmake/ApplyPatch.cmake
    COMMENT "Applying ${name}.patch"
    VERBATIM)
endforeach()

# Sets `variable` to the path of a file of Caffe's source, or of its patched copy.
function(caffe_file variable file)
  if(file IN_LIST patched_files)
    set(${variable} ${patched_dir}/${file} PARENT_SCOPE)
  else()
    set(${variable} ${CAFFE_SOURCE_DIR}/${file} PARENT_SCOPE)
  endif()
endfunction()

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
  # As in CMake before 3.31.
  set_source_files_properties(${caffe_cuda_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endif()

set(patched_library ${patched_files})
list(FILTER patched_library EXCLUDE REGEX "^(python|tools)/")
foreach(file ${patched_library})
  list(REMOVE_ITEM caffe_sources ${CAFFE_SOURCE_DIR}/${file})
  list(APPEND caffe_sources ${patched_dir}/${file})
endforeach()
# What the patched classes call.
set(our_sources layers/files/atomic_file.cpp layers/files/lmdb_pages.cpp layers/gpu/gpu_problem.cpp)
add_library(caffe SHARED
  ${caffe_sources} ${generated_dir}/caffe/proto/caffe.pb.cc ${our_sources})
target_include_directories(caffe PRIVATE ${PROJECT_SOURCE_DIR})
# The patched header must be found before Caffe's own.
target_include_directories(caffe SYSTEM PUBLIC
  ${patched_dir}/include ${generated_dir} ${CAFFE_SOURCE_DIR}/include
  ${PROJECT_SOURCE_DIR}/cmake/compat/include ${HDF5_INCLUDE_DIRS} ${OPENCV_INCLUDE_DIR})
target_compile_definitions(caffe PUBLIC CAFFE_VERSION=1.0.0 USE_LMDB)
if(NOT DNNH_MINIMAL)
  target_compile_definitions(caffe PUBLIC USE_OPENCV USE_HDF5)
  target_link_libraries(caffe PUBLIC
    ${HDF5_C_LIBRARIES} ${HDF5_HL_LIBRARIES} ${OPENCV_LIBRARIES})
endif()
target_link_libraries(caffe PUBLIC
  Boost::filesystem Boost::system Boost::thread
  gflags glog::glog protobuf::libprotobuf PkgConfig::LMDB PkgConfig::OPENBLAS
  Threads::Threads)
# Most of the time to compile one of these files goes into the headers, which they share.
set_target_properties(caffe PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
set_source_files_properties(${our_sources}
  PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)  # for compile_commands.json
# Caffe's code dates from 2014 to 2018; we do not fix its warnings.
target_compile_options(caffe PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-w>)

function(force_include header)
  foreach(source ${ARGN})
    caffe_file(path ${source})
    set_property(SOURCE ${path} APPEND PROPERTY
      COMPILE_OPTIONS -include ${PROJECT_SOURCE_DIR}/cmake/compat/${header})
    set_property(SOURCE ${path} APPEND PROPERTY
      OBJECT_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/compat/${header})
  endforeach()
endfunction()
force_include(protobuf.hpp src/caffe/util/io.cpp)

if(DNNH_CUDA)
  force_include(cuda13.hpp src/caffe/common.cpp)
  force_include(cudnn9.hpp src/caffe/layers/cudnn_conv_layer.cpp
    src/caffe/layers/cudnn_deconv_layer.cpp)
  target_link_libraries(caffe PUBLIC dnnh_cuda)
  # Entries are numbers, with a suffix or not, or words (native) that name none.
  set(oldest_gpu 0)
  foreach(architecture ${CMAKE_CUDA_ARCHITECTURES})
    string(REGEX MATCH "^[0-9]+" number "${architecture}")
    if(number AND (NOT oldest_gpu OR number LESS oldest_gpu))
      set(oldest_gpu ${number})
    endif()
  endforeach()
  set_source_files_properties(layers/gpu/gpu_problem.cpp PROPERTIES
    COMPILE_DEFINITIONS DNNH_OLDEST_GPU=${oldest_gpu})
  target_compile_options(caffe PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-w>)
else()
  target_compile_definitions(caffe PUBLIC CPU_ONLY)
endif()

# --- the programs ------------------------------------------------------------
foreach(tool caffe convert_imageset compute_image_mean extract_features
    upgrade_net_proto_binary upgrade_net_proto_text upgrade_solver_proto_text)
  caffe_file(source tools/${tool}.cpp)
  add_executable(${tool}_tool ${source})
  target_compile_options(${tool}_tool PRIVATE -w)
  target_link_libraries(${tool}_tool PRIVATE dnnh_layers)
  set_target_properties(${tool}_tool PROPERTIES
    OUTPUT_NAME ${tool}
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endforeach()

# --- the Python module -------------------------------------------------------
caffe_file(source python/caffe/_caffe.cpp)
Python3_add_library(pycaffe MODULE ${source})
# It only passes values on; -O1 saves a third of the time.
target_compile_options(pycaffe PRIVATE -w -O1)
target_link_libraries(pycaffe PRIVATE
  dnnh_layers Boost::${boost_python} Python3::NumPy)
set_target_properties(pycaffe PROPERTIES
  PREFIX "" OUTPUT_NAME _caffe SUFFIX .so
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/python/caffe)

file(WRITE ${PROJECT_BINARY_DIR}/python/caffe/proto/__init__.py "")
file(GLOB pycaffe_modules ${CAFFE_SOURCE_DIR}/python/caffe/*.py)
set(patched_modules ${patched_files})
list(FILTER patched_modules INCLUDE REGEX "^python/.*[.]py$")
foreach(file ${patched_modules})
  list(REMOVE_ITEM pycaffe_modules ${CAFFE_SOURCE_DIR}/${file})
endforeach()
file(COPY ${pycaffe_modules} ${CAFFE_SOURCE_DIR}/python/caffe/imagenet
  DESTINATION ${PROJECT_BINARY_DIR}/python/caffe)
foreach(file ${patched_modules})
  add_custom_command(
    OUTPUT ${PROJECT_BINARY_DIR}/${file}
    COMMAND ${CMAKE_COMMAND} -E copy ${patched_dir}/${file} ${PROJECT_BINARY_DIR}/${file}
    DEPENDS ${patched_dir}/${file}
    VERBATIM)
  list(APPEND pycaffe_copies ${PROJECT_BINARY_DIR}/${file})
endforeach()
add_custom_target(patched_pycaffe ALL DEPENDS ${pycaffe_copies})
