#include "layers/triplet_data_layer.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "layers/triplet_list.hpp"

namespace caffe {

namespace {

// The first word of a random stream's key, so that no two uses share one.
enum Purpose { TRIPLET, CLASSES, TRANSFORM, BATCH };

// The largest count that float holds exactly.
const double kMaxBatches = 1 << 24;

}  // namespace

template <typename Dtype>
void TripletDataLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  owner_ = "TripletData layer '" + this->layer_param_.name() + "'";
  triplets_ = param.batch_size();
  CheckOptions();
  const bool train = this->phase_ == TRAIN;
  solvers_ = train ? Caffe::solver_count() : 1;     // the root solver tests
  rank_ = train ? Caffe::solver_rank() : 0;
  database_.reset(new ImageDatabase(owner_, param.source(),
      this->layer_param_.transform_param(), param.channel_order()));
  sampler_.reset(new ImageSampler(database_->labels()));
  transform_.reset(new ImageTransform(owner_,
      this->layer_param_.transform_param(), param, this->phase_, *database_));
  if (param.distort_until()) {
    test_transform_.reset(new ImageTransform(owner_,
        this->layer_param_.transform_param(), param, TEST, *database_));
  }
  if (param.has_triplets()) {
    list_ = ReadTripletList(owner_, param.triplets(), database_->size());
  }
  CheckLabels();
  LOG_IF(INFO, Caffe::root_solver()) << owner_ << ": " << database_->size()
      << " images, " << database_->channels() << " x " << database_->height()
      << " x " << database_->width() << ", of " << sampler_->classes()
      << " classes; " << (param.has_triplets()
          ? std::to_string(list_.size() / 3) + " listed triplets"
          : param.has_classes() ? std::string("classes are drawn")
          : triplets_ ? std::string("triplets are drawn")
                      : std::string("images are drawn, whatever their labels"));

  const double images = param.images() ? param.images()
      : triplets_ ? 3. * triplets_
      : static_cast<double>(param.classes()) * param.images_per_class();
  const double values = images * transform_->channels() * transform_->height()
      * transform_->width();
  CHECK_LE(std::max({values, images * database_->classes(), 3. * triplets_}),
           std::numeric_limits<int>::max()) << owner_ << ": a batch has "
      << values << " values, more than a blob can have; make it smaller";
  images_ = images;
  top[0]->Reshape(vector<int>{images_, transform_->channels(),
                              transform_->height(), transform_->width()});
  vector<int> labels_shape(1, images_);
  if (param.images() && triplets_) {
    labels_shape[0] = 3 * triplets_;
  } else if (database_->classes()) {
    labels_shape.push_back(database_->classes());
  }
  if (top.size() > 1) { top[1]->Reshape(labels_shape); }

  if (this->blobs_.empty()) {
    this->blobs_.resize(1);
    this->blobs_[0].reset(new Blob<Dtype>(vector<int>(1, 1)));
    this->blobs_[0]->mutable_cpu_data()[0] = 0;
  }
  settled_ = false;
  test_count_ = -1;
  test_batch_ = 0;
  for (uint32_t i = 0; i < std::max(param.prefetch(), param.threads()); ++i) {
    slots_.emplace_back(new Slot);
    Slot* slot = slots_.back().get();
    slot->images.ReshapeLike(*top[0]);
    slot->labels.Reshape(labels_shape);
    slot->image_values = slot->images.mutable_cpu_data();
    slot->label_values = slot->labels.mutable_cpu_data();
  }
  prefetcher_.reset(new Prefetcher(slots_.size(), param.threads(),
      [this](uint64_t batch, int slot) { Fill(batch, slots_[slot].get()); }));
}

template <typename Dtype>
void TripletDataLayer<Dtype>::CheckOptions() const {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  const char* example = "for example triplet_data_param { source:"
      " 'data/cifar10_train_images_lmdb' batch_size: 21 }";
  CHECK(!param.source().empty()) << owner_ << " has no source, " << example;
  if (param.has_classes() || param.has_images_per_class()) {
    CHECK(param.classes() >= 1 && param.images_per_class() >= 1) << owner_
        << ": classes is " << param.classes() << " and images_per_class "
        << param.images_per_class() << "; both must be at least 1";
    CHECK(!param.has_batch_size() && !param.has_triplets()
          && !param.has_images()) << owner_
        << ": classes and images_per_class say what is in a batch; leave out"
        << " batch_size, triplets and images";
  } else {
    CHECK(param.batch_size() >= 1 || (param.images() && !param.has_batch_size()))
        << owner_ << ": batch_size is " << param.batch_size() << ", it must be"
        << " at least 1 triplet, " << example;
    CHECK_LE(param.batch_size(), std::numeric_limits<int>::max()) << owner_
        << ": batch_size is " << param.batch_size() << ", too large";
  }
  CHECK(!param.has_images() || (param.images() >= (triplets_ ? 3 : 1)
                                && !param.has_triplets())) << owner_
      << ": images: " << param.images() << " is how many there are in a batch,"
      << " alone or to draw batch_size triplets among; give at least 1, or 3 for"
      << " triplets, and no list";
  CHECK(param.threads() >= 1 && param.threads() <= 256) << owner_
      << ": threads is " << param.threads() << ", it must be from 1 to 256";
  CHECK(param.prefetch() >= 1 && param.prefetch() <= 1024) << owner_
      << ": prefetch is " << param.prefetch() << ", it must be from 1 to 1024"
      << " batches";
  const bool own = this->layer_param_.param_size() == 1
      && this->layer_param_.param(0).lr_mult() == 0
      && this->layer_param_.param(0).decay_mult() == 0;
  CHECK(own) << owner_ << " keeps the number of the batch in a blob that no"
      << " solver may move; write param { lr_mult: 0 decay_mult: 0 } into it";
}

template <typename Dtype>
void TripletDataLayer<Dtype>::CheckLabels() const {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  const bool by_label =
      (triplets_ && !param.has_triplets()) || param.has_classes();
  for (int i = 0; by_label && i < database_->size(); ++i) {
    CHECK(!database_->labels()[i].empty()) << owner_ << ": "
        << database_->Describe(i) << " has no label: 0 for all "
        << database_->classes() << " classes; leave it out";
  }
  CHECK_LE(param.images(), static_cast<uint32_t>(database_->size())) << owner_
      << ": a batch has " << param.images() << " different images and "
      << param.source() << " " << database_->size();
  if (param.has_classes()) {
    CHECK_LE(param.classes(), static_cast<uint32_t>(sampler_->classes()))
        << owner_ << ": a batch has " << param.classes() << " classes and "
        << param.source() << " " << sampler_->classes();
    for (int i = 0; i < sampler_->classes(); ++i) {
      CHECK_LE(param.images_per_class(),
               static_cast<uint32_t>(sampler_->members(i))) << owner_
          << ": a batch has " << param.images_per_class()
          << " images of a class and " << param.source() << " has "
          << sampler_->members(i) << " of class " << sampler_->label(i)
          << "; lower images_per_class or leave the class out";
    }
  } else if (triplets_ && !param.has_triplets()) {
    const char* remedy = "; triplets need two images of a class and two"
        " classes: add images or leave this one out";
    const int alone = sampler_->FirstWithoutSimilar();
    CHECK_EQ(alone, -1) << owner_ << ": " << database_->Describe(alone)
        << " has no similar image: no other one has a label of its" << remedy;
    const int akin = sampler_->FirstWithoutDissimilar();
    CHECK_EQ(akin, -1) << owner_ << ": " << database_->Describe(akin)
        << " has no dissimilar image: every one shares a label with it"
        << remedy;
  }
}

template <typename Dtype>
void TripletDataLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  Slot* slot = slots_[prefetcher_->Take(NextBatch())].get();
  // Somebody may have given the tops another shape from outside.
  top[0]->ReshapeLike(slot->images);
  top[0]->set_cpu_data(slot->image_values);
  if (top.size() > 1) {
    top[1]->ReshapeLike(slot->labels);
    top[1]->set_cpu_data(slot->label_values);
  }
}

template <typename Dtype>
uint64_t TripletDataLayer<Dtype>::NextBatch() {
  const Dtype count = this->blobs_[0]->cpu_data()[0];
  CHECK(count >= 0 && count < kMaxBatches) << owner_ << ": the number of the"
      << " batch is " << count << ", not from 0 to " << kMaxBatches
      << "; the snapshot is none of this net, or the run is too long";
  if (this->phase_ == TRAIN) {
    this->blobs_[0]->mutable_cpu_data()[0] = count + 1;
    if (!settled_ && !Distorts(count)) {
      settled_ = true;
      LOG_IF(INFO, Caffe::root_solver()) << owner_ << ": from batch " << count
          << " on, images are as in TEST (distort_until: "
          << this->layer_param_.triplet_data_param().distort_until() << ")";
    }
    return count;
  }
  // A test net shares the blob with the net that trains, which alone counts.
  if (count != test_count_) { test_batch_ = 0; }
  test_count_ = count;
  return test_batch_++;
}

template <typename Dtype>
bool TripletDataLayer<Dtype>::Distorts(uint64_t batch) const {
  const uint64_t until =
      this->layer_param_.triplet_data_param().distort_until();
  return until == 0 || batch < until;
}

// Runs on the prefetcher's threads, several at a time.
template <typename Dtype>
void TripletDataLayer<Dtype>::Fill(uint64_t batch, Slot* slot) const {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  const ImageTransform& transform =
      Distorts(batch) ? *transform_ : *test_transform_;
  std::vector<int> places;
  const std::vector<int> chosen = ChooseImages(batch, &places);
  std::copy(places.begin(), places.end(), slot->label_values);
  const int classes = database_->classes();
  const int size = slot->images.count(1);
  Pixels pixels;
  for (int i = 0; i < images_; ++i) {
    database_->Read(chosen[i], &pixels);
    RandomStream random({TRANSFORM, param.seed(), batch, rank_ * images_ + i});
    transform.Apply(pixels, &random, slot->image_values + i * size);

    if (!places.empty()) { continue; }
    const std::vector<int>& labels = database_->labels()[chosen[i]];
    if (classes == 0) {
      slot->label_values[i] = labels[0];
    } else {
      Dtype* hot = slot->label_values + i * classes;
      std::fill(hot, hot + classes, Dtype(0));
      for (int label : labels) { hot[label] = 1; }
    }
  }
}

template <typename Dtype>
std::vector<int> TripletDataLayer<Dtype>::ChooseImages(
    uint64_t batch, std::vector<int>* places) const {
  const TripletDataParameter& param = this->layer_param_.triplet_data_param();
  std::vector<int> chosen(images_);
  if (param.images() && !triplets_) {
    RandomStream random({BATCH, param.seed(), batch, rank_});
    return sampler_->DrawImages(images_, &random);
  }
  if (param.images()) {
    RandomStream random({BATCH, param.seed(), batch, rank_});
    places->resize(3 * triplets_);
    CHECK(sampler_->DrawBatch(images_, &random, &chosen, places)) << owner_
        << ": a thousand times, " << images_ << " images had no triplet among"
        << " them; raise images";
    return chosen;
  }
  if (param.has_classes()) {
    // Solvers share out the classes of one draw, where there are enough.
    const bool shared =
        solvers_ * param.classes() <= static_cast<uint64_t>(sampler_->classes());
    RandomStream random({CLASSES, param.seed(), batch, shared ? 0 : rank_});
    sampler_->DrawClasses(param.classes(), param.images_per_class(), &random,
                          &chosen, shared ? solvers_ : 1, shared ? rank_ : 0);
  }
  for (int t = 0; t < triplets_; ++t) {
    // Its position in the batch of all solvers, and in the whole training.
    const uint64_t position = rank_ * triplets_ + t;
    const uint64_t number = batch * solvers_ * triplets_ + position;
    int triplet[3];
    if (list_.empty()) {
      RandomStream random({TRIPLET, param.seed(), batch, position});
      sampler_->DrawTriplet(&random, triplet);
    } else {
      const uint64_t row = number % (list_.size() / 3);
      std::copy_n(list_.begin() + 3 * row, 3, triplet);
    }
    for (int member = 0; member < 3; ++member) {
      chosen[member * triplets_ + t] = triplet[member];
    }
  }
  return chosen;
}

INSTANTIATE_CLASS(TripletDataLayer);
REGISTER_LAYER_CLASS(TripletData);

}  // namespace caffe
