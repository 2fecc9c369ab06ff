#ifndef DNNH_LAYERS_DATA_PREFETCHER_HPP_
#define DNNH_LAYERS_DATA_PREFETCHER_HPP_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace caffe {

/**
 * @brief Fills a ring of slots ahead of the consumer, on threads of its own.
 *
 * Batch n goes into slot n mod slots. Threads fill different batches at the
 * same time; batches are taken in order. A batch must depend on its number
 * alone, so that the number of threads changes nothing.
 */
class Prefetcher {
 public:
  /// @param slots at least 1; at least as many as threads, to use them all
  /// @param fill puts batch `batch` into slot `slot`; called on the threads,
  ///        never twice at once for one slot
  Prefetcher(int slots, int threads,
             std::function<void(uint64_t batch, int slot)> fill);
  /// Stops the threads, after they complete the batches they are filling.
  ~Prefetcher();

  /// Waits until batch `batch` is complete and returns its slot, which stays
  /// unchanged until the next call. Batches are prefetched in order: any other
  /// batch than the one after the last restarts the threads from there.
  int Take(uint64_t batch);

 private:
  void Start(uint64_t batch);
  void Stop();
  void Work();

  const std::function<void(uint64_t, int)> fill_;
  const uint64_t slots_;
  const int threads_;
  std::vector<std::thread> workers_;
  bool running_;                    // whether there are workers
  std::mutex mutex_;                // guards everything below
  std::condition_variable freed_;   // a slot is free, or stopping_ is set
  std::condition_variable filled_;  // a slot is full
  uint64_t next_;                   // the next batch to fill
  uint64_t taken_;                  // the next batch to take
  bool held_;                       // whether batch taken_ - 1 is in use
  bool stopping_;
  std::vector<bool> ready_;  // whether a slot is full
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_PREFETCHER_HPP_
