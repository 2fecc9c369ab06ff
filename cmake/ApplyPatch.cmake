# Copies files of Caffe's source and patches the copies. Run as a script:
#   cmake -DCAFFE=source -DOUTPUT=folder -DPATCH_PROGRAM=patch -DPATCH=file
#     -P ApplyPatch.cmake
# The copies keep their paths: OUTPUT/include/caffe/syncedmem.hpp and so on.
file(STRINGS ${PATCH} headers REGEX "^--- a/")
list(TRANSFORM headers REPLACE "^--- a/" "" OUTPUT_VARIABLE files)
foreach(file ${files})
  get_filename_component(folder ${OUTPUT}/${file} DIRECTORY)
  file(REMOVE ${OUTPUT}/${file})
  file(COPY ${CAFFE}/${file} DESTINATION ${folder})
endforeach()

# --fuzz=0: every line of context must match.
execute_process(
  COMMAND ${PATCH_PROGRAM} --strip=1 --fuzz=0 --forward --batch --silent
    --no-backup-if-mismatch --reject-file=- --input=${PATCH}
  WORKING_DIRECTORY ${OUTPUT}
  OUTPUT_VARIABLE log ERROR_VARIABLE log
  RESULT_VARIABLE status)
foreach(file ${files})
  if(status EQUAL 0)
    file(TOUCH ${OUTPUT}/${file})   # COPY keeps the source's time
  else()
    file(REMOVE ${OUTPUT}/${file})
  endif()
endforeach()
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PATCH} does not apply to Caffe's source in ${CAFFE}; "
    "use an unchanged checkout of BVLC Caffe 1.0 (commit 99bd997)\n${log}")
endif()
