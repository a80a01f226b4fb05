// A session without a model that holds the runtime to its word. Its cache remembers, for each token
// written, a hash of everything that token could see through the block tables; logits are a
// function of that hash. So the outputs are right only where every table, copy, swap and reuse was.
//
// Work is done when somebody waits for it, in the order it was issued: the host is always as far
// ahead as it can be.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "engine/session.h"
#include "tenon/error.h"

namespace tenon::test {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15ULL + b + 0x632BE59BD9B4E019ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// The fake model: hash of a sequence, and its logits.
inline std::uint64_t prefix_hash(std::span<const std::int32_t> tokens) {
  std::uint64_t hash = 1;
  for (const std::int32_t token : tokens) hash = mix(hash, static_cast<std::uint64_t>(token));
  return hash;
}
inline std::vector<float> fake_logits(std::uint64_t hash, std::int64_t vocab) {
  std::vector<float> logits(static_cast<std::size_t>(vocab));
  for (std::size_t t = 0; t < logits.size(); ++t)
    logits[t] = static_cast<float>(mix(hash, t) >> 40) / static_cast<float>(1 << 24) * 8.0F;
  return logits;
}
inline std::int32_t argmax_of(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}
/// What greedy decoding of the fake model gives.
inline std::vector<std::int32_t> expected_output(std::vector<std::int32_t> tokens,
                                                 std::int64_t count, std::int64_t vocab) {
  const std::size_t prompt = tokens.size();
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(argmax_of(fake_logits(prefix_hash(tokens), vocab)));
  return {tokens.begin() + static_cast<std::ptrdiff_t>(prompt), tokens.end()};
}

class FakeSession : public Session {
 public:
  struct Shape {
    std::int64_t blocks = 64;
    std::int64_t host_blocks = 0;
    std::int64_t disk_blocks = 0;
    std::vector<std::int64_t> windows = {0};
    std::int64_t vocab = 100;
    bool keeps_last_tokens = true;
    bool chunkable = true;
  };

  FakeSession(SessionOptions options, const Shape& shape)
      : options_(std::move(options)), shape_(shape), ledger_("fake") {
    traits_.vocab_size = shape.vocab;
    traits_.chunkable = shape.chunkable;
    for (const std::int64_t window : shape.windows) {
      groups_.push_back({.window = window,
                         .blocks = shape.blocks,
                         .host_blocks = shape.host_blocks,
                         .disk_blocks = shape.disk_blocks});
      memory_.emplace_back(static_cast<std::size_t>(shape.blocks * options_.tokens_per_block), 0);
      swapped_.emplace_back(static_cast<std::size_t>((shape.host_blocks + shape.disk_blocks) *
                                                     options_.tokens_per_block),
                            0);
    }
  }

  // Faults to inject, looked at when work is done.
  std::set<std::int32_t> poison;          ///< a step with one of these tokens fails
  std::function<void(const Batch&)> spy;  ///< sees each batch as its step runs
  bool broken = false;                    ///< every step fails
  int steps = 0;

  void prepare(const Batch& batch) override {
    verify(batch);
    EXPECT_LE(batch.tokens(), options_.max_step_tokens);
    EXPECT_LE(batch.sequences(), options_.max_sequences);
    EXPECT_GT(batch.sequences(), 0);
    prepared_ = std::make_shared<Work>();
    prepared_->batch = batch;
  }
  void forward() override {
    const std::lock_guard lock(mutex_);
    queue_.push_back({prepared_, [this, work = prepared_] { run(*work); }});
    last_forward_ = queue_end_ + queue_.size();
  }
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    const std::lock_guard lock(mutex_);
    queue_.push_back({prepared_, [this, work = prepared_, late] { draw(*work, late); }});
    return std::make_shared<Handle>(*this, prepared_, queue_end_ + queue_.size());
  }
  Tensor read(std::string_view output) override {
    work_until(last_forward_);
    if (prepared_->failure) std::rethrow_exception(prepared_->failure);
    const auto rows = static_cast<std::int64_t>(prepared_->batch.logit_rows.size());
    if (output == "hidden_states") {
      std::vector<float> values;
      for (const std::uint64_t hash : prepared_->hashes)
        values.insert(values.end(), {static_cast<float>(hash % 1000), 1.0F});
      return Tensor::from_floats({rows, 2}, values);
    }
    std::vector<float> values;
    for (const std::uint64_t hash : prepared_->hashes) {
      const std::vector<float> row = fake_logits(hash, shape_.vocab);
      values.insert(values.end(), row.begin(), row.end());
    }
    return Tensor::from_floats({rows, shape_.vocab}, values);
  }

  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  std::string describe() const override { return "fake"; }
  std::vector<std::pair<std::string, int>> kernels() const override { return {}; }
  bool keeps_last_tokens() const override { return shape_.keeps_last_tokens; }

 private:
  struct Work {
    Batch batch;
    std::vector<std::uint64_t> hashes;  // of each logit row
    StepResult result;
    std::exception_ptr failure;
  };
  struct Task {
    std::shared_ptr<Work> work;
    std::function<void()> act;
  };
  struct Slot {
    std::vector<std::vector<std::int32_t>> tables;
    std::int32_t last_token = kLastSampledToken;
    SamplingParams sampling;
    std::size_t end_ids = 0;
    bool undefined = false;  // a step with it failed, and it was not reset since
  };

  class Handle : public StepHandle {
   public:
    Handle(FakeSession& session, std::shared_ptr<Work> work, std::size_t until)
        : session_(session), work_(std::move(work)), until_(until) {}
    bool ready() const override { return true; }
    const StepResult& wait() override {
      session_.work_until(until_);
      if (work_->failure) std::rethrow_exception(work_->failure);
      return work_->result;
    }

   private:
    FakeSession& session_;
    std::shared_ptr<Work> work_;
    std::size_t until_;
  };

  void work_until(std::size_t count) {
    const std::lock_guard lock(mutex_);
    while (queue_end_ < count) {
      Task task = std::move(queue_.front());
      queue_.pop_front();
      ++queue_end_;
      if (task.work->failure) continue;
      try {
        task.act();
      } catch (...) {
        task.work->failure = std::current_exception();
        for (const std::int32_t slot : task.work->batch.slots) slots_[slot].undefined = true;
      }
    }
  }

  void update_slots(const Batch& batch) {
    const std::map<std::int32_t, Slot> before = slots_;
    std::set<std::int32_t> reset;
    for (const SlotUpdate& update : batch.updates)
      if (update.reset) reset.insert(update.slot);
    for (const std::int32_t slot : batch.slots)
      if (slots_[slot].undefined && !reset.contains(slot))
        throw Error(ErrorCode::kInternal, "[fake] a step before left the slot undefined");
    for (const SlotUpdate& update : batch.updates) {
      Slot& slot = slots_[update.slot];
      if (update.reset) slot = {};
      if (update.parent >= 0) {
        const Slot& parent = before.at(update.parent);
        slot.tables = parent.tables;
        slot.last_token = parent.last_token;
      }
      slot.tables.resize(groups_.size());
      for (const BlockTableChange& change : update.tables) {
        auto& table = slot.tables[static_cast<std::size_t>(change.group)];
        EXPECT_LE(static_cast<std::size_t>(change.begin), table.size());
        table.resize(
            std::max(table.size(), static_cast<std::size_t>(change.begin) + change.blocks.size()));
        std::copy(change.blocks.begin(), change.blocks.end(), table.begin() + change.begin);
      }
      if (update.sampling) slot.sampling = *update.sampling;
      if (update.reset) slot.end_ids = update.end_ids.size();
      if (!update.outputs.empty()) slot.last_token = update.outputs.back();
    }
  }

  void run_commands(const Batch& batch) {
    for (const CacheCommand& command : batch.commands) {
      using Kind = CacheCommand::Kind;
      const auto group = static_cast<std::size_t>(command.group);
      auto& from = command.kind == Kind::kSwapIn || command.kind == Kind::kMoveSwapped
                       ? swapped_[group]
                       : memory_[group];
      auto& to = command.kind == Kind::kSwapOut || command.kind == Kind::kMoveSwapped
                     ? swapped_[group]
                     : memory_[group];
      const std::int64_t size = options_.tokens_per_block;
      for (std::int64_t i = 0; i < size; ++i)
        to.at(static_cast<std::size_t>(command.destination * size + i)) =
            from.at(static_cast<std::size_t>(command.source * size + i));
    }
  }

  std::uint64_t& cell(std::size_t group, const Slot& slot, std::int64_t position) {
    const std::int64_t size = options_.tokens_per_block;
    const std::int32_t block = slot.tables[group].at(static_cast<std::size_t>(position / size));
    if (block < 0) throw Error(ErrorCode::kInternal, "[fake] a block that is needed is not there");
    return memory_[group].at(static_cast<std::size_t>(block * size + position % size));
  }

  void run(Work& work) {
    const Batch& batch = work.batch;
    ++steps;
    if (spy) spy(batch);
    for (const std::int32_t token : batch.token_ids)
      if (broken || poison.contains(token)) throw Error(ErrorCode::kInternal, "[fake] poison");
    update_slots(batch);
    run_commands(batch);
    check_writers(batch);
    std::vector<std::uint64_t> of_token(batch.token_ids.size());
    for (std::size_t s = 0; s < batch.slots.size(); ++s) {
      Slot& slot = slots_.at(batch.slots[s]);
      for (std::int32_t t = batch.token_begin[s]; t < batch.token_begin[s + 1]; ++t) {
        const auto at = static_cast<std::size_t>(t);
        std::int32_t token = batch.token_ids[at];
        if (token == kLastSampledToken) token = slot.last_token;
        if (token < 0) throw Error(ErrorCode::kInternal, "[fake] no token was sampled yet");
        if (poison.contains(token)) throw Error(ErrorCode::kInternal, "[fake] poison");
        const std::int64_t position = batch.positions[at];
        EXPECT_EQ(position, batch.cached_tokens[s] + t - batch.token_begin[s]);
        for (std::size_t g = 0; g < groups_.size(); ++g) {
          // The whole window must still be there.
          const std::int64_t window = groups_[g].window;
          if (window > 0 && position >= window) cell(g, slot, position - window + 1);
          const std::uint64_t before = position == 0 ? 1 : cell(g, slot, position - 1);
          of_token[at] = mix(before, static_cast<std::uint64_t>(token));
          cell(g, slot, position) = of_token[at];
        }
      }
    }
    for (const std::int32_t row : batch.logit_rows)
      work.hashes.push_back(of_token[static_cast<std::size_t>(row)]);
  }

  /// No two sequences of a step write into one block, and none writes what another one reads.
  void check_writers(const Batch& batch) {
    const std::int64_t size = options_.tokens_per_block;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      std::map<std::int32_t, std::int32_t> writer;
      for (std::size_t s = 0; s < batch.slots.size(); ++s) {
        const auto& table = slots_.at(batch.slots[s]).tables[g];
        const std::int64_t begin = batch.cached_tokens[s];
        const std::int64_t end = begin + batch.token_begin[s + 1] - batch.token_begin[s];
        for (std::int64_t b = begin / size; b <= (end - 1) / size; ++b) {
          const std::int32_t block = table.at(static_cast<std::size_t>(b));
          EXPECT_TRUE(writer.emplace(block, batch.slots[s]).second) << "two write block " << block;
        }
      }
      for (std::size_t s = 0; s < batch.slots.size(); ++s)
        for (const std::int32_t block : slots_.at(batch.slots[s]).tables[g]) {
          const auto found = writer.find(block);
          EXPECT_TRUE(found == writer.end() || found->second == batch.slots[s])
              << "block " << block << " is written by " << found->second << " and read by "
              << batch.slots[s];
        }
    }
  }

  void draw(Work& work, const LateInputs& late) {
    const Batch& batch = work.batch;
    for (std::size_t s = 0; s < batch.slots.size(); ++s) {
      SequenceResult& out = work.result.sequences.emplace_back();
      if (batch.sample_row[s] < 0) continue;
      Slot& slot = slots_.at(batch.slots[s]);
      std::vector<float> logits =
          fake_logits(work.hashes[static_cast<std::size_t>(batch.sample_row[s])], shape_.vocab);
      if (!late.logits.empty() && !late.logits[s].empty()) logits = late.logits[s];
      if (!late.allowed_tokens.empty() && !late.allowed_tokens[s].empty())
        for (std::size_t t = 0; t < logits.size(); ++t)
          if (((late.allowed_tokens[s][t / 32] >> (t % 32)) & 1U) == 0) logits[t] = -INFINITY;
      if (slot.sampling.beam_width > 1) {
        out.top_logprobs.push_back(candidates(logits, slot));
        continue;
      }
      const std::int32_t token = argmax_of(logits);
      if (std::isinf(logits[static_cast<std::size_t>(token)])) continue;  // nothing is allowed
      out.tokens = {token};
      slot.last_token = token;
      if (slot.sampling.logprobs) {
        out.logprobs = {candidates(logits, slot).front().logprob};
        out.top_logprobs.emplace_back();
      }
    }
  }

  static std::vector<TokenLogprob> candidates(const std::vector<float>& logits, const Slot& slot) {
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    std::vector<TokenLogprob> all;
    for (std::size_t t = 0; t < logits.size(); ++t)
      all.push_back({static_cast<std::int32_t>(t),
                     static_cast<float>(static_cast<double>(logits[t]) - std::log(total))});
    std::stable_sort(all.begin(), all.end(), [](const TokenLogprob& a, const TokenLogprob& b) {
      return a.logprob > b.logprob;
    });
    const auto count = listed_tokens(slot.sampling, slot.end_ids);
    all.resize(std::min(all.size(), static_cast<std::size_t>(count)));
    return all;
  }

  SessionOptions options_;
  Shape shape_;
  EngineTraits traits_;
  std::vector<CacheGroup> groups_;
  Ledger ledger_;
  std::vector<std::vector<std::uint64_t>> memory_;   // [group][block * size + offset]
  std::vector<std::vector<std::uint64_t>> swapped_;  // likewise
  std::map<std::int32_t, Slot> slots_;
  std::shared_ptr<Work> prepared_;
  std::mutex mutex_;
  std::deque<Task> queue_;
  std::size_t queue_end_ = 0;  // tasks done
  std::size_t last_forward_ = 0;
};

}  // namespace tenon::test
