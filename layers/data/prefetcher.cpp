#include "layers/data/prefetcher.hpp"

#include <functional>
#include <utility>

namespace caffe {

Prefetcher::Prefetcher(int slots, int threads,
                       std::function<void(uint64_t, int)> fill)
    : fill_(std::move(fill)), slots_(slots), threads_(threads), running_(false),
      next_(0), taken_(0), held_(false), stopping_(false),
      ready_(slots, false) {}

Prefetcher::~Prefetcher() { Stop(); }

int Prefetcher::Take(uint64_t batch) {
  if (!running_ || batch != taken_) {
    Stop();
    Start(batch);
  }
  std::unique_lock<std::mutex> lock(mutex_);
  const int slot = taken_ % slots_;
  if (held_) {  // the previous batch can be overwritten now
    ready_[(taken_ - 1) % slots_] = false;
    held_ = false;
    freed_.notify_all();
  }
  filled_.wait(lock, [&] { return ready_[slot]; });
  held_ = true;
  ++taken_;
  return slot;
}

void Prefetcher::Start(uint64_t batch) {
  next_ = taken_ = batch;
  held_ = stopping_ = false;
  ready_.assign(slots_, false);
  running_ = true;
  for (int i = 0; i < threads_; ++i) {
    workers_.emplace_back([this] { Work(); });
  }
}

void Prefetcher::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  freed_.notify_all();
  for (std::thread& worker : workers_) { worker.join(); }
  workers_.clear();
  running_ = false;
}

void Prefetcher::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    // No two of slots_ consecutive batches share a slot; the one in use is the
    // first of them.
    freed_.wait(
        lock, [this] { return stopping_ || next_ < taken_ - held_ + slots_; });
    if (stopping_) { return; }
    const uint64_t batch = next_++;
    const int slot = batch % slots_;
    lock.unlock();
    fill_(batch, slot);
    lock.lock();
    ready_[slot] = true;
    filled_.notify_one();
  }
}

}  // namespace caffe
