# Makes the build's own copy of SyncedMemory, which can hold values in another
# layout than plain. Run as a script:
#   cmake -DCAFFE=source -DOUTPUT=folder -P AddOtherLayout.cmake
#
# The layers in layers/onednn_*.cpp keep values blocked by channels from one to
# the next: going back to plain in between costs much of what they gain. So
# SyncedMemory gets an `other_layout`. Whoever asks for plain values, as every
# layer of Caffe's, pycaffe and snapshots do, gets them: they are put back then.
# (A pointer that was asked for before the last pass is not told.)
# This is the only change to Caffe's code; each place that it touches must be
# found exactly once.
function(insert text_name place addition)
  string(REPLACE "${place}" "" without "${${text_name}}")
  string(LENGTH "${${text_name}}" before)
  string(LENGTH "${without}" after)
  string(LENGTH "${place}" length)
  math(EXPR found "(${before} - ${after}) / ${length}")
  if(NOT found EQUAL 1)
    message(FATAL_ERROR "SyncedMemory in ${CAFFE} has ${found} places that read\n"
      "${place}\ninstead of one: is it BVLC Caffe 1.0?")
  endif()
  string(REPLACE "${place}" "${place}${addition}" changed "${${text_name}}")
  set(${text_name} "${changed}" PARENT_SCOPE)
endfunction()

file(READ ${CAFFE}/include/caffe/syncedmem.hpp header)
insert(header "#include <cstdlib>\n" "#include <memory>\n")
insert(header "namespace caffe {\n" "
// Values in a layout of some layer's own.
class OtherLayout {
 public:
  virtual ~OtherLayout() {}
  virtual void CopyTo(void* plain) const = 0;
};
")
insert(header "  size_t size() const { return size_; }\n" "
  // The values in another layout, if they are there; null if not.
  const std::shared_ptr<OtherLayout>& other_layout() const {
    return other_layout_;
  }
  // They were written in another layout; plain follows when it is asked for.
  void write_other_layout(std::shared_ptr<OtherLayout> other) {
    other_layout_ = other;
    plain_is_old_ = true;
    head_ = HEAD_AT_CPU;
  }
  bool plain_is_old() const { return plain_is_old_; }
")
insert(header "  void check_device();\n" "
  void update_plain() {
    if (!plain_is_old_) { return; }
    plain_is_old_ = false;
    if (cpu_ptr_ == NULL) {
      CaffeMallocHost(&cpu_ptr_, size_, &cpu_malloc_use_cuda_);
      own_cpu_data_ = true;
    }
    other_layout_->CopyTo(cpu_ptr_);
  }
  void drop_other_layout() {
    other_layout_.reset();
    plain_is_old_ = false;
  }
  std::shared_ptr<OtherLayout> other_layout_;
  bool plain_is_old_ = false;
")

file(READ ${CAFFE}/src/caffe/syncedmem.cpp source)
insert(source "void SyncedMemory::to_cpu() {\n" "  update_plain();\n")
insert(source "void SyncedMemory::to_gpu() {\n" "  update_plain();\n")
insert(source "void* SyncedMemory::mutable_cpu_data() {\n  check_device();\n  to_cpu();\n"
  "  drop_other_layout();\n")
insert(source "void* SyncedMemory::mutable_gpu_data() {\n  check_device();\n#ifndef CPU_ONLY\n  to_gpu();\n"
  "  drop_other_layout();\n")
insert(source "void SyncedMemory::set_cpu_data(void* data) {\n" "  drop_other_layout();\n")
insert(source "void SyncedMemory::set_gpu_data(void* data) {\n" "  drop_other_layout();\n")
insert(source "void SyncedMemory::async_gpu_push(const cudaStream_t& stream) {\n"
  "  update_plain();\n")

file(MAKE_DIRECTORY ${OUTPUT}/caffe)
file(WRITE ${OUTPUT}/caffe/syncedmem.hpp "${header}")
file(WRITE ${OUTPUT}/caffe/syncedmem.cpp "${source}")
