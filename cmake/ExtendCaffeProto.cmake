# Makes our caffe.proto from Caffe's and layers/dnnh.proto. Run as a script:
#   cmake -DCAFFE_PROTO=... -DDNNH_PROTO=... -DOUTPUT=... -P ExtendCaffeProto.cmake
#
# The fields of `message LayerParameter {...}` in layers/dnnh.proto are inserted at
# the start of Caffe's own LayerParameter, and the messages after it are appended.
# The first } ends LayerParameter, in a comment, too.
# caffe.proto is proto2 without extension ranges, so the text must be edited.
file(READ ${CAFFE_PROTO} caffe_proto)
file(READ ${DNNH_PROTO} dnnh_proto)

string(REGEX MATCH "message LayerParameter {\n([^}]*)}\n(.*)$" is_match "${dnnh_proto}")
if(NOT is_match)
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
