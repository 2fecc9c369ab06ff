#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "layers/data/prefetcher.hpp"

namespace caffe {

TEST(PrefetcherTest, BatchesComeInOrderAndStayUntilTheNext) {
  for (int slots : {1, 2, 5}) {
    for (int threads : {1, 4}) {
      std::vector<uint64_t> filled(slots, 0);
      Prefetcher prefetcher(slots, threads, [&](uint64_t batch, int slot) {
        if (batch % 3 == 0) { std::this_thread::yield(); }
        filled[slot] = batch;
      });
      for (uint64_t batch = 0; batch < 500; ++batch) {
        const int slot = prefetcher.Take(batch);
        ASSERT_EQ(filled[slot], batch);
        std::this_thread::yield();
        ASSERT_EQ(filled[slot], batch) << "overwritten while in use";
      }
    }
  }
}

TEST(PrefetcherTest, AnyBatchMayBeTaken) {
  std::vector<uint64_t> filled(3, 0);
  Prefetcher prefetcher(
      3, 2, [&](uint64_t batch, int slot) { filled[slot] = batch; });
  for (uint64_t batch : {7, 8, 9, 2, 3, 3, 3, 100, 0, 1}) {
    ASSERT_EQ(filled[prefetcher.Take(batch)], batch);
  }
}

// As many batches ahead as there are slots, and no more.
TEST(PrefetcherTest, FillsAhead) {
  std::atomic<int> fills(0);
  Prefetcher prefetcher(4, 2, [&](uint64_t, int) { ++fills; });
  EXPECT_EQ(fills, 0) << "no batch was taken";
  prefetcher.Take(0);
  for (int i = 0; i < 2000 && fills < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fills, 4);
}

TEST(PrefetcherTest, StopsAtAnyTime) {
  for (int i = 0; i < 200; ++i) {
    Prefetcher prefetcher(4, 3, [&](uint64_t, int) {});
    for (int batch = 0; batch < i % 7; ++batch) { prefetcher.Take(batch); }
  }
}

}  // namespace caffe
