// A collective: every rank of the group shows where its data lies, a barrier, everyone reads what
// it needs from the others, a second barrier before anyone touches its data again. After an abort a
// rank may still read what another shows: buffers must live until all ranks have come back.
// SPDX-License-Identifier: Apache-2.0
#include "distributed/in_process_communicator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "core/check.h"

namespace tenon {
namespace {

[[noreturn]] void fail_cancelled() {
  fail(ErrorCode::kCancelled, "another rank of this session failed; see its error");
}

// Ranks that reduce and gather together (one tensor-parallel group), and what they show each other.
class Group {
 public:
  explicit Group(int size) : mine_(static_cast<std::size_t>(size)) {}

  struct Shown {
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
  };

  int size() const { return static_cast<int>(mine_.size()); }
  void show(int rank, std::span<const std::byte> data) {
    mine_[static_cast<std::size_t>(rank)] = {data.data(), data.size()};
  }
  const Shown& of(int rank) const { return mine_[static_cast<std::size_t>(rank)]; }

  /// Returns when all ranks have come here; throws where the session was aborted.
  void barrier(const std::atomic<bool>& aborted) {
    std::unique_lock lock(mutex_);
    if (aborted) fail_cancelled();
    const std::uint64_t round = round_;
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
      return;
    }
    all_here_.wait(lock, [&] { return round_ != round || aborted.load(); });
    if (round_ == round) fail_cancelled();
  }

  void wake() {
    const std::lock_guard lock(mutex_);  // nobody can be between its check and its wait
    all_here_.notify_all();
  }

  /// Forgets who had come to the barrier that was aborted.
  void reset() {
    const std::lock_guard lock(mutex_);
    arrived_ = 0;
  }

 private:
  std::vector<Shown> mine_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
};

// Messages on their way from one rank to another, oldest first, copied: a sender goes on at once,
// so that pipeline stages overlap and two ranks may send to each other before they receive. It
// waits only where kDepth messages are there already.
class Mailbox {
 public:
  void send(std::span<const std::byte> data, const std::atomic<bool>& aborted) {
    std::unique_lock lock(mutex_);
    wait(lock, aborted, [&] { return count_ < kDepth; });
    messages_[(first_ + count_) % kDepth].assign(data.begin(), data.end());
    ++count_;
    changed_.notify_all();
  }

  void receive(std::span<std::byte> data, const std::atomic<bool>& aborted) {
    std::unique_lock lock(mutex_);
    wait(lock, aborted, [&] { return count_ > 0; });
    const std::vector<std::byte>& message = messages_[first_];
    TENON_CHECK(data.size() == message.size(), ErrorCode::kInternal,
                "[communicator] {} bytes were sent, {} are expected", message.size(), data.size());
    std::copy(message.begin(), message.end(), data.begin());
    first_ = (first_ + 1) % kDepth;
    --count_;
    changed_.notify_all();
  }

  void wake() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  /// Drops what was sent and not received.
  void reset() {
    const std::lock_guard lock(mutex_);
    first_ = count_ = 0;
  }

 private:
  template <class Condition>
  void wait(std::unique_lock<std::mutex>& lock, const std::atomic<bool>& aborted,
            Condition condition) {
    changed_.wait(lock, [&] { return condition() || aborted.load(); });
    if (!condition()) fail_cancelled();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  static constexpr std::size_t kDepth = 2;
  std::array<std::vector<std::byte>, kDepth> messages_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

struct World {
  explicit World(const Mapping& mapping) : mapping(mapping) {
    const int groups = mapping.world_size / mapping.tp_size;
    for (int g = 0; g < groups; ++g) tp_groups.push_back(std::make_unique<Group>(mapping.tp_size));
  }

  Mailbox& mailbox(int from, int to) {
    const std::lock_guard lock(mutex);
    return mailboxes[{from, to}];  // nodes of a map stay where they are
  }

  void abort() {
    aborted = true;
    for (auto& group : tp_groups) group->wake();
    const std::lock_guard lock(mutex);
    for (auto& entry : mailboxes) entry.second.wake();
  }

  void reset() {
    for (auto& group : tp_groups) group->reset();
    const std::lock_guard lock(mutex);
    for (auto& entry : mailboxes) entry.second.reset();
    aborted = false;
  }

  const Mapping mapping;
  std::atomic<bool> aborted{false};
  std::vector<std::unique_ptr<Group>> tp_groups;
  std::mutex mutex;
  std::map<std::pair<int, int>, Mailbox> mailboxes;
};

class InProcessCommunicator final : public Communicator {
 public:
  InProcessCommunicator(std::shared_ptr<World> world, int rank)
      : world_(std::move(world)),
        rank_(rank),
        tp_rank_(rank % world_->mapping.tp_size),
        group_(*world_->tp_groups[static_cast<std::size_t>(rank / world_->mapping.tp_size)]) {}

  int tp_rank() const override { return tp_rank_; }
  int tp_size() const override { return group_.size(); }

  // Every rank sums its share of the elements over all ranks, in rank order, then fetches the other
  // shares: each element is summed once, so all ranks hold the same bits.
  void all_reduce(std::span<float> values) override {
    if (group_.size() == 1) return;
    group_.show(tp_rank_, std::as_bytes(values));
    group_.barrier(world_->aborted);
    for (int rank = 0; rank < group_.size(); ++rank)
      TENON_CHECK(group_.of(rank).bytes == values.size_bytes(), ErrorCode::kInternal,
                  "[communicator] rank {} reduces {} bytes, rank {} {}", tp_rank_,
                  values.size_bytes(), rank, group_.of(rank).bytes);
    const auto total = static_cast<std::int64_t>(values.size());
    const Range mine = even_cut(total, group_.size(), tp_rank_);
    sum_.resize(static_cast<std::size_t>(mine.size()));
    std::fill(sum_.begin(), sum_.end(), 0.F);
    for (int rank = 0; rank < group_.size(); ++rank) {
      const float* theirs = floats_of(rank) + mine.begin;
      for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += theirs[i];
    }
    group_.barrier(world_->aborted);  // nobody reads addends any more
    std::copy(sum_.begin(), sum_.end(), values.begin() + mine.begin);
    group_.barrier(world_->aborted);  // all shares are in place
    for (int rank = 0; rank < group_.size(); ++rank) {
      const Range theirs = even_cut(total, group_.size(), rank);
      if (rank != tp_rank_)
        std::copy_n(floats_of(rank) + theirs.begin, theirs.size(), values.begin() + theirs.begin);
    }
    group_.barrier(world_->aborted);
  }

  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::int64_t rows,
                  std::span<const std::int64_t> widths, std::size_t element_bytes) override {
    TENON_ASSERT(static_cast<int>(widths.size()) == group_.size());
    group_.show(tp_rank_, mine);
    group_.barrier(world_->aborted);
    std::size_t row_bytes = 0;
    for (const std::int64_t width : widths)
      row_bytes += static_cast<std::size_t>(width) * element_bytes;
    TENON_ASSERT(all.size() == row_bytes * static_cast<std::size_t>(rows));
    std::size_t column = 0;
    for (int rank = 0; rank < group_.size(); ++rank) {
      const std::size_t width =
          static_cast<std::size_t>(widths[static_cast<std::size_t>(rank)]) * element_bytes;
      const Group::Shown& theirs = group_.of(rank);
      TENON_CHECK(theirs.bytes == width * static_cast<std::size_t>(rows), ErrorCode::kInternal,
                  "[communicator] rank {} gathers {} bytes, expected {} rows of {}", rank,
                  theirs.bytes, rows, width);
      for (std::size_t row = 0; row < static_cast<std::size_t>(rows) && width > 0; ++row)
        std::memcpy(all.data() + row * row_bytes + column, theirs.data + row * width, width);
      column += width;
    }
    group_.barrier(world_->aborted);
  }

  void send(int peer, std::span<const std::byte> data) override {
    check_peer(peer);
    world_->mailbox(rank_, peer).send(data, world_->aborted);
  }

  void receive(int peer, std::span<std::byte> data) override {
    check_peer(peer);
    world_->mailbox(peer, rank_).receive(data, world_->aborted);
  }

  void abort() noexcept override { world_->abort(); }
  void reset() override { world_->reset(); }

 private:
  const float* floats_of(int rank) const {
    return reinterpret_cast<const float*>(group_.of(rank).data);
  }
  void check_peer(int peer) const {
    TENON_CHECK(peer >= 0 && peer < world_->mapping.world_size && peer != rank_,
                ErrorCode::kInternal, "[communicator] rank {} has no peer {}", rank_, peer);
  }

  std::shared_ptr<World> world_;
  int rank_;
  int tp_rank_;
  Group& group_;
  std::vector<float> sum_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_in_process_communicators(const Mapping& mapping) {
  const Mapping checked = checked_mapping(mapping);
  auto world = std::make_shared<World>(checked);
  std::vector<std::unique_ptr<Communicator>> out;
  for (int rank = 0; rank < checked.world_size; ++rank)
    out.push_back(std::make_unique<InProcessCommunicator>(world, rank));
  return out;
}

}  // namespace tenon
