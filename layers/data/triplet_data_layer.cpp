#include "layers/data/triplet_data_layer.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "layers/data/random_stream.hpp"
#include "layers/given_blobs.hpp"
#include "layers/owner.hpp"

namespace caffe {

// The largest count that float holds exactly.
static const double kMaxBatches = 1 << 24;
// So that a GPU does not wait for images.
static const uint32_t kThreadsOnGpu = 4;

template <typename Dtype>
void TripletDataLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  owner_ = OwnerOf(*this);
  CheckOptions();
  const bool train = this->phase_ == TRAIN;
  share_.solvers = train ? Caffe::solver_count() : 1;  // the root solver tests
  share_.rank = train ? Caffe::solver_rank() : 0;
  database_.reset(new ImageDatabase(owner_, param.source(),
                                    this->layer_param_.transform_param(),
                                    param.channel_order()));
  transform_.reset(new ImageTransform(owner_,
                                      this->layer_param_.transform_param(),
                                      param, this->phase_, *database_));
  if (param.augment_until()) {
    test_transform_.reset(new ImageTransform(
        owner_, this->layer_param_.transform_param(), param, TEST, *database_));
  }
  sampler_ = MakeBatchSampler(owner_, param, *database_, share_);
  LOG_IF(INFO, Caffe::root_solver())
      << owner_ << ": " << database_->size() << " images, "
      << database_->channels() << " x " << database_->height() << " x "
      << database_->width() << ", of " << sampler_->classes() << " classes; "
      << sampler_->Describe();

  top[0]->Reshape(ImagesShape());
  if (top.size() > 1) { top[1]->Reshape(LabelsShape()); }
  if (this->blobs_.empty()) {
    this->blobs_.resize(1);
    this->blobs_[0].reset(new Blob<Dtype>(vector<int>(1, 1)));
    this->blobs_[0]->mutable_cpu_data()[0] = 0;
  }
  CheckGivenBlobs(this->layer_param_, this->blobs_, {{1}});
  augmentation_is_off_ = false;
  test_count_ = -1;
  test_batch_ = 0;
  StartPrefetching();
}

template <typename Dtype>
void TripletDataLayer<Dtype>::CheckOptions() const {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  CHECK(!param.source().empty())
      << owner_ << " has no source, for example"
      << " triplet_data_param { source: 'data/cifar10_train_images_lmdb'"
      << " batch_size: 21 }";
  CHECK(!param.has_threads()
        || (param.threads() >= 1 && param.threads() <= 256))
      << owner_ << ": threads is " << param.threads()
      << ", it must be from 1 to 256";
  CHECK(param.prefetch() >= 1 && param.prefetch() <= 1024)
      << owner_ << ": prefetch is " << param.prefetch()
      << ", it must be from 1 to 1024"
      << " batches";
  const bool is_fixed = this->layer_param_.param_size() == 1
      && this->layer_param_.param(0).lr_mult() == 0
      && this->layer_param_.param(0).decay_mult() == 0;
  CHECK(is_fixed)
      << owner_ << " keeps the number of the batch in a blob that no"
      << " solver may update; add param { lr_mult: 0 decay_mult: 0 } to it";
}

template <typename Dtype>
vector<int> TripletDataLayer<Dtype>::ImagesShape() const {
  const double images = sampler_->images();
  const double values = images * transform_->channels() * transform_->height()
      * transform_->width();
  const double labels =
      std::max<double>(images * database_->classes(), sampler_->positions());
  CHECK_LE(std::max(values, labels), std::numeric_limits<int>::max())
      << owner_ << ": a batch has " << values
      << " values, more than a blob can have;"
      << " make it smaller";
  return {static_cast<int>(sampler_->images()), transform_->channels(),
          transform_->height(), transform_->width()};
}

template <typename Dtype>
vector<int> TripletDataLayer<Dtype>::LabelsShape() const {
  if (sampler_->positions() > 0) {
    return {static_cast<int>(sampler_->positions())};
  }
  vector<int> shape(1, static_cast<int>(sampler_->images()));
  if (database_->classes() > 0) { shape.push_back(database_->classes()); }
  return shape;
}

template <typename Dtype>
void TripletDataLayer<Dtype>::StartPrefetching() {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  const uint32_t threads = param.has_threads() ? param.threads()
      : Caffe::mode() == Caffe::GPU            ? kThreadsOnGpu
                                               : 1;
  for (uint32_t i = 0; i < std::max(param.prefetch(), threads); ++i) {
    slots_.emplace_back(new Slot);
    Slot* slot = slots_.back().get();
    slot->images.Reshape(ImagesShape());
    slot->labels.Reshape(LabelsShape());
    slot->image_values = slot->images.mutable_cpu_data();
    slot->label_values = slot->labels.mutable_cpu_data();
    slot->gpu_image_values = slot->gpu_label_values = NULL;
#ifndef CPU_ONLY
    if (Caffe::mode() == Caffe::GPU) {
      slot->gpu_image_values = slot->images.mutable_gpu_data();
      slot->gpu_label_values = slot->labels.mutable_gpu_data();
    }
#endif
  }
#ifndef CPU_ONLY
  if (Caffe::mode() == Caffe::GPU) { uploader_.reset(new Uploader); }
#endif
  prefetcher_.reset(
      new Prefetcher(slots_.size(), threads, [this](uint64_t batch, int i) {
        Slot* slot = slots_[i].get();
        Fill(batch, slot);
        Upload(slot);
      }));
}

template <typename Dtype>
typename TripletDataLayer<Dtype>::Slot* TripletDataLayer<Dtype>::TakeBatch(
    const vector<Blob<Dtype>*>& top) {
  Slot* slot = slots_[prefetcher_->Take(NextBatch())].get();
  // The tops may have been reshaped from outside.
  top[0]->ReshapeLike(slot->images);
  if (top.size() > 1) { top[1]->ReshapeLike(slot->labels); }
  return slot;
}

template <typename Dtype>
void TripletDataLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  const Slot* slot = TakeBatch(top);
  top[0]->set_cpu_data(slot->image_values);
  if (top.size() > 1) { top[1]->set_cpu_data(slot->label_values); }
}

#ifdef CPU_ONLY

template <typename Dtype>
void TripletDataLayer<Dtype>::Upload(Slot* slot) const {}

#else

template <typename Dtype>
void TripletDataLayer<Dtype>::Upload(Slot* slot) const {
  if (!uploader_) { return; }
  uploader_->Upload(slot->image_values, slot->gpu_image_values,
                    slot->images.count() * sizeof(Dtype));
  uploader_->Upload(slot->label_values, slot->gpu_label_values,
                    slot->labels.count() * sizeof(Dtype));
  uploader_->Wait();
}

template <typename Dtype>
void TripletDataLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  if (!uploader_) {  // the layer was made in CPU mode
    Forward_cpu(bottom, top);
    return;
  }
  uploader_->Release();
  const Slot* slot = TakeBatch(top);
  top[0]->set_gpu_data(slot->gpu_image_values);
  if (top.size() > 1) { top[1]->set_gpu_data(slot->gpu_label_values); }
}

#endif

template <typename Dtype>
void TripletDataLayer<Dtype>::Restart() {
  this->blobs_[0]->mutable_cpu_data()[0] = 0;
  augmentation_is_off_ = false;
}

template <typename Dtype>
uint64_t TripletDataLayer<Dtype>::NextBatch() {
  const Dtype count = this->blobs_[0]->cpu_data()[0];
  CHECK(count >= 0 && count < kMaxBatches)
      << owner_ << ": the number of the"
      << " batch is " << count << ", not from 0 to " << kMaxBatches
      << "; the snapshot is not of this net, or the run is too long";
  if (this->phase_ == TRAIN) {
    this->blobs_[0]->mutable_cpu_data()[0] = count + 1;
    if (!augmentation_is_off_ && !IsAugmented(count)) {
      augmentation_is_off_ = true;
      LOG_IF(INFO, Caffe::root_solver())
          << owner_ << ": augmentation is off from"
          << " batch " << count << " on (augment_until: "
          << this->layer_param_.triplet_data_param().augment_until() << ")";
    }
    return count;
  }
  // A TEST net shares the blob with the TRAIN net, which alone counts.
  if (count != test_count_) { test_batch_ = 0; }
  test_count_ = count;
  return test_batch_++;
}

template <typename Dtype>
bool TripletDataLayer<Dtype>::IsAugmented(uint64_t batch) const {
  const uint64_t until =
      this->layer_param_.triplet_data_param().augment_until();
  return until == 0 || batch < until;
}

// Runs on the prefetcher's threads, several at a time.
template <typename Dtype>
void TripletDataLayer<Dtype>::Fill(uint64_t batch, Slot* slot) const {
  const uint64_t seed = this->layer_param_.triplet_data_param().seed();
  const ImageTransform& transform =
      IsAugmented(batch) ? *transform_ : *test_transform_;
  const SampledBatch drawn = sampler_->Draw(batch);
  std::copy(drawn.positions.begin(), drawn.positions.end(), slot->label_values);
  const uint64_t images = drawn.images.size();
  const int image_size = slot->images.count(1);
  const int labels_size = slot->labels.count(1);
  Pixels pixels;
  for (uint64_t i = 0; i < images; ++i) {
    database_->Read(drawn.images[i], &pixels);
    RandomStream random({TRANSFORM, seed, batch, share_.rank * images + i});
    transform.Apply(pixels, &random, slot->image_values + i * image_size);
    if (drawn.positions.empty()) {
      WriteLabels(drawn.images[i], slot->label_values + i * labels_size);
    }
  }
}

template <typename Dtype>
void TripletDataLayer<Dtype>::WriteLabels(int image, Dtype* values) const {
  const std::vector<int>& labels = database_->labels()[image];
  if (database_->classes() == 0) {
    values[0] = labels[0];
    return;
  }
  std::fill(values, values + database_->classes(), Dtype(0));
  for (int label : labels) { values[label] = 1; }
}

INSTANTIATE_CLASS(TripletDataLayer);
REGISTER_LAYER_CLASS(TripletData);

}  // namespace caffe
