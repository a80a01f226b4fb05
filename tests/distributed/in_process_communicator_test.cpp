// Collectives between threads: results against sums made by hand, the same bits on every rank, and
// no rank left hanging after an abort.
// SPDX-License-Identifier: Apache-2.0
#include "distributed/in_process_communicator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <thread>

#include "tenon/error.h"

namespace tenon {
namespace {

using Body = std::function<void(int rank, Communicator& communicator)>;

void on_all_ranks(const Mapping& mapping, const Body& body) {
  auto communicators = make_in_process_communicators(mapping);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < static_cast<int>(communicators.size()); ++rank)
    threads.emplace_back([&, rank] { body(rank, *communicators[static_cast<std::size_t>(rank)]); });
  for (std::thread& thread : threads) thread.join();
}

TEST(InProcessCommunicator, AllReduceSumsInRankOrder) {
  for (const int size : {1, 2, 3, 4})
    for (const std::size_t count : {0U, 1U, 2U, 5U, 1000U}) {
      const auto value = [](int rank, std::size_t i) {
        return 0.1F * static_cast<float>(rank + 1) + 1e7F * static_cast<float>(i % 3);
      };
      std::vector<std::vector<float>> results(static_cast<std::size_t>(size));
      on_all_ranks({.world_size = size, .tp_size = size}, [&](int rank, Communicator& comm) {
        std::vector<float> values(count);
        for (int repeat = 0; repeat < 20; ++repeat) {
          for (std::size_t i = 0; i < count; ++i) values[i] = value(rank, i);
          comm.all_reduce(values);
        }
        results[static_cast<std::size_t>(rank)] = values;
      });
      for (std::size_t i = 0; i < count; ++i) {
        float expected = 0.F;
        for (int rank = 0; rank < size; ++rank) expected += value(rank, i);
        for (const auto& result : results) ASSERT_EQ(result[i], expected) << size << " " << i;
      }
    }
}

TEST(InProcessCommunicator, AllGatherJoinsUnevenColumns) {
  const std::vector<std::int64_t> widths = {3, 0, 2};
  constexpr std::int64_t kRows = 4;
  on_all_ranks({.world_size = 3, .tp_size = 3}, [&](int rank, Communicator& comm) {
    const auto width = widths[static_cast<std::size_t>(rank)];
    std::vector<std::int32_t> mine;
    for (std::int32_t row = 0; row < kRows; ++row)
      for (std::int32_t c = 0; c < width; ++c) mine.push_back(100 * rank + 10 * row + c);
    std::vector<std::int32_t> all(kRows * 5);
    comm.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), kRows,
                    widths, 4);
    for (std::int32_t row = 0; row < kRows; ++row) {
      const std::vector<std::int32_t> got(all.begin() + row * 5, all.begin() + row * 5 + 5);
      const std::int32_t r = 10 * row;
      EXPECT_EQ(got, (std::vector<std::int32_t>{r, r + 1, r + 2, 200 + r, 201 + r}));
    }
  });
}

TEST(InProcessCommunicator, GroupsOfAPipelineAreApart) {
  on_all_ranks({.world_size = 4, .tp_size = 2, .pp_size = 2}, [&](int rank, Communicator& comm) {
    EXPECT_EQ(comm.tp_size(), 2);
    EXPECT_EQ(comm.tp_rank(), rank % 2);
    float value = static_cast<float>(rank);
    comm.all_reduce({&value, 1});
    EXPECT_EQ(value, rank < 2 ? 1.F : 5.F);
    for (int step = 0; step < 10; ++step) {  // each stage hands its sum on
      float got = -1.F;
      if (rank < 2) comm.send(rank + 2, std::as_bytes(std::span(&value, 1)));
      if (rank >= 2) {
        comm.receive(rank - 2, std::as_writable_bytes(std::span(&got, 1)));
        EXPECT_EQ(got, 1.F);
      }
    }
  });
}

TEST(InProcessCommunicator, MessagesKeepTheirOrder) {
  on_all_ranks({.world_size = 2, .pp_size = 2}, [&](int rank, Communicator& comm) {
    for (std::int32_t i = 0; i < 50; ++i) {  // both send first: no rendezvous
      std::int32_t got = -1;
      const std::int32_t mine = 1000 * rank + i;
      comm.send(1 - rank, std::as_bytes(std::span(&mine, 1)));
      comm.receive(1 - rank, std::as_writable_bytes(std::span(&got, 1)));
      EXPECT_EQ(got, 1000 * (1 - rank) + i);
    }
  });
}

TEST(InProcessCommunicator, WrongLengthIsAnError) {
  on_all_ranks({.world_size = 2, .pp_size = 2}, [&](int rank, Communicator& comm) {
    std::byte bytes[4] = {};
    if (rank == 0)
      comm.send(1, {bytes, 4});
    else
      EXPECT_THROW(comm.receive(0, {bytes, 3}), Error);
  });
}

TEST(InProcessCommunicator, AbortWakesEveryone) {
  const auto cancelled = [](const std::function<void()>& wait) {
    try {
      wait();
    } catch (const Error& error) {
      return error.code() == ErrorCode::kCancelled;
    }
    return false;
  };
  on_all_ranks({.world_size = 6, .tp_size = 3, .pp_size = 2}, [&](int rank, Communicator& comm) {
    float value = 1.F;
    std::byte bytes[8] = {};
    if (rank == 5) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      comm.abort();
    } else if (rank < 3) {  // a whole group, but one of it waits for a message that never comes
      EXPECT_TRUE(cancelled([&] {
        if (rank == 0) comm.receive(4, bytes);
        comm.all_reduce({&value, 1});
      }));
    } else {
      EXPECT_TRUE(cancelled([&] { comm.all_reduce({&value, 1}); }));
    }
    EXPECT_TRUE(cancelled([&] { comm.all_reduce({&value, 1}); }));  // and from now on
  });
}

TEST(InProcessCommunicator, AfterAResetNothingIsLeftOfWhatWasAborted) {
  const Mapping mapping{.world_size = 4, .tp_size = 2, .pp_size = 2};
  auto communicators = make_in_process_communicators(mapping);
  const auto on_ranks = [&](const Body& body) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 4; ++rank)
      threads.emplace_back(
          [&, rank] { body(rank, *communicators[static_cast<std::size_t>(rank)]); });
    for (std::thread& thread : threads) thread.join();
  };
  for (int round = 0; round < 3; ++round) {
    // One of each group waits for the other, two messages lie in mailboxes, then rank 3 fails.
    on_ranks([&](int rank, Communicator& comm) {
      float stale = -1.F;
      if (rank < 2) comm.send(rank + 2, std::as_bytes(std::span(&stale, 1)));
      if (rank == 3) return comm.abort();
      if (rank == 1) return;
      EXPECT_THROW(comm.all_reduce({&stale, 1}), Error);
    });
    communicators[1]->reset();
    on_ranks([&](int rank, Communicator& comm) {
      float value = static_cast<float>(rank);
      comm.all_reduce({&value, 1});
      EXPECT_EQ(value, rank < 2 ? 1.F : 5.F);
      float got = 0.F;
      if (rank < 2) comm.send(rank + 2, std::as_bytes(std::span(&value, 1)));
      if (rank >= 2) {
        comm.receive(rank - 2, std::as_writable_bytes(std::span(&got, 1)));
        EXPECT_EQ(got, 1.F);
      }
    });
  }
}

}  // namespace
}  // namespace tenon
