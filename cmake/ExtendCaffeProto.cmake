# Makes our caffe.proto from Caffe's and layers/dnnh.proto. Run as a script:
#   cmake -DCAFFE_PROTO=... -DDNNH_PROTO=... -DOUTPUT=... -P ExtendCaffeProto.cmake
#
# What stands inside `message LayerParameter {...}` of layers/dnnh.proto goes
# to the front of Caffe's own LayerParameter; the messages after it are
# appended. caffe.proto is proto2 without extension ranges, so that text is the
# only way in.
file(READ ${CAFFE_PROTO} caffe_proto)
file(READ ${DNNH_PROTO} dnnh_proto)

string(REGEX MATCH "message LayerParameter {\n([^}]*)}\n(.*)$" found "${dnnh_proto}")
if(NOT found)
  message(FATAL_ERROR "${DNNH_PROTO} does not start with 'message LayerParameter {...}'")
endif()
set(fields "${CMAKE_MATCH_1}")
set(messages "${CMAKE_MATCH_2}")

set(opening "message LayerParameter {\n")
string(FIND "${caffe_proto}" "${opening}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "${CAFFE_PROTO} has no LayerParameter message: is it Caffe's?")
endif()
string(REPLACE "${opening}" "${opening}${fields}\n" extended "${caffe_proto}")
file(WRITE ${OUTPUT} "${extended}\n${messages}")
