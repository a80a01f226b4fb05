// A hundred thousand requests leave nothing behind: no block, no slot, no memory.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <random>
#include <thread>

#include "fixture.h"
#include "tenon/executor.h"

namespace tenon::test {
namespace {

constexpr int kThreads = 8;

/// Bytes that the program holds on its heap, all arenas together.
std::size_t heap_bytes() {
  const struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

class Soak : public testing::Test {
 protected:
  static LlmOptions options() {
    LlmOptions options = tiny_options();
    options.threads = 1;
    options.max_batch_size = 32;
    options.gather_context_logits = false;
    options.max_seq_len = 64;
    options.executor.max_queue_size = 256;
    options.executor.kv_cache.max_tokens = 64 * 48;
    options.executor.kv_cache.event_buffer_size = 100;
    return options;
  }

  void serve(int requests) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([this, t, requests] { client(t, requests / kThreads); });
    for (std::thread& thread : threads) thread.join();
    while (executor_.statistics().active_requests + executor_.statistics().queued_requests > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void client(int number, int requests) {
    std::mt19937 random(static_cast<unsigned>(number + ++rounds_ * 100));
    std::vector<RequestId> sent;
    const auto collect = [&] {
      for (const RequestId id : sent) {
        bool final = false;
        while (!final)
          for (const Response& response : executor_.await_responses(id)) {
            final = response.is_final;
            EXPECT_FALSE(response.error) << response.error->what();
          }
        ++answered_;
      }
      sent.clear();
    };
    for (int i = 0; i < requests; ++i) {
      GenerationRequest request;
      for (unsigned n = 1 + random() % 4; n > 0; --n)
        request.input_token_ids.push_back(static_cast<std::int32_t>(3 + random() % 60));
      request.sampling.temperature = random() % 2 == 0 ? 0.0F : 1.0F;
      request.sampling.max_tokens = 1 + static_cast<std::int32_t>(random() % 2);
      request.streaming = random() % 4 == 0;
      const bool calls_back = random() % 4 == 0;
      const bool cancels = random() % 16 == 0;
      ResponseCallback callback;
      if (calls_back) callback = [this](const Response& response) { called_ += response.is_final; };
      const RequestId id = executor_.enqueue_request(std::move(request), std::move(callback));
      if (cancels) executor_.cancel_request(id);
      if (calls_back)
        ++callbacks_;
      else
        sent.push_back(id);
      if (sent.size() >= 16) collect();
      if (random() % 500 == 0) executor_.take_cache_events();
    }
    collect();
  }

  // Before the executor, whose callbacks count here.
  std::atomic<int> rounds_{0};
  std::atomic<int> answered_{0};
  std::atomic<int> called_{0};
  std::atomic<int> callbacks_{0};
  Executor executor_{data_path("models/llama_mqa").string(), options()};
};

TEST_F(Soak, AHundredThousandRequestsLeaveNothingBehind) {
  serve(10'000);
  const std::size_t early = heap_bytes();
  serve(90'000);
  ASSERT_TRUE(executor_.drain(std::chrono::seconds(60)));
  const std::size_t late = heap_bytes();
  // What is kept of a step is bounded and full by then; arenas of threads come and go.
  EXPECT_LT(late, early + (256 << 10)) << early << " bytes before";
  const ExecutorStatistics statistics = executor_.statistics();
  EXPECT_EQ(statistics.finished_requests, 100'000U);
  EXPECT_EQ(statistics.failed_requests, 0U);
  EXPECT_EQ(statistics.kv_cache.used_blocks, 0);
  EXPECT_EQ(statistics.active_requests, 0);
  EXPECT_EQ(statistics.queued_requests, 0);
  EXPECT_EQ(executor_.responses_ready(), 0U);
  executor_.shutdown();
  EXPECT_EQ(called_, callbacks_);
  EXPECT_EQ(answered_ + called_, 100'000);
  RecordProperty("heap_bytes_early", static_cast<int>(early));
  RecordProperty("heap_bytes_late", static_cast<int>(late));
  std::printf("heap after 10,000 requests: %zu bytes, after 100,000: %zu\n", early, late);
}

}  // namespace
}  // namespace tenon::test
