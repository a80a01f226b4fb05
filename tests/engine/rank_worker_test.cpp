// Rank workers: order, the first failure, and causes before the cancellations they bring.
// SPDX-License-Identifier: Apache-2.0
#include "engine/rank_worker.h"

#include <gtest/gtest.h>

#include <atomic>

#include "tenon/error.h"

namespace tenon {
namespace {

TEST(RankWorker, DoesWorkInOrder) {
  std::vector<int> order;
  std::vector<std::future<void>> pending;
  RankWorker worker([] {});
  for (int i = 0; i < 100; ++i) pending.push_back(worker.post([&order, i] { order.push_back(i); }));
  wait_all(pending);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(RankWorker, AFailureIsToldOnceAndRefusesWhatFollows) {
  std::atomic<int> told{0};
  RankWorker worker([&] { ++told; });
  auto failed = worker.post([] { throw Error(ErrorCode::kCorrupt, "bad"); });
  std::atomic<bool> ran{false};
  auto refused = worker.post([&] { ran = true; });
  EXPECT_THROW(failed.get(), Error);
  EXPECT_THROW(refused.get(), Error);
  EXPECT_FALSE(ran);
  EXPECT_EQ(told, 1);
}

TEST(RankWorker, AFailureThatIsForgottenLetsWorkGoOn) {
  std::atomic<int> told{0};
  std::atomic<int> ran{0};
  RankWorker worker([&] { ++told; });
  for (int round = 1; round <= 3; ++round) {
    EXPECT_FALSE(worker.failed());
    auto failed = worker.post([] { throw Error(ErrorCode::kCorrupt, "bad"); });
    auto refused = worker.post([&] { ++ran; });
    auto forgotten = worker.forget_failure();
    auto done = worker.post([&] { ++ran; });
    EXPECT_THROW(failed.get(), Error);
    EXPECT_THROW(refused.get(), Error);
    EXPECT_NO_THROW(forgotten.get());
    EXPECT_NO_THROW(done.get());
    EXPECT_EQ(told, round);
    EXPECT_EQ(ran, round);
  }
}

TEST(RankWorker, WaitAllPrefersTheCause) {
  RankWorker cancelled([] {});
  RankWorker broken([] {});
  std::vector<std::future<void>> pending;
  pending.push_back(cancelled.post([] { throw Error(ErrorCode::kCancelled, "others failed"); }));
  pending.push_back(broken.post([] { throw Error(ErrorCode::kCorrupt, "the cause"); }));
  try {
    wait_all(pending);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace tenon
