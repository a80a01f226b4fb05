// A session without a model: the token after t is t + 1 (modulo the vocabulary), and every batch is
// checked against what the slots know.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>

#include "engine/session.h"

namespace tenon::test {

class FakeSession : public Session {
 public:
  explicit FakeSession(SessionOptions options, std::int64_t blocks, std::int64_t vocab = 100)
      : options_(std::move(options)), ledger_("fake") {
    traits_.vocab_size = vocab;
    groups_.push_back({0, blocks});
  }

  /// Throws in this step (counted from 1); 0: never.
  std::atomic<int> fail_at_step{0};
  std::atomic<int> steps{0};

  void prepare(const Batch& batch) override {
    verify(batch);
    EXPECT_LE(batch.tokens(), options_.max_step_tokens);
    EXPECT_LE(batch.sequences(), options_.max_sequences);
    for (const SlotUpdate& update : batch.updates) {
      tables_[update.slot] = update.tables.at(0).blocks;
      cached_[update.slot] = 0;
    }
    check_no_block_is_shared(batch);
    batch_ = batch;
  }

  void forward() override {
    if (++steps == fail_at_step) throw Error(ErrorCode::kInternal, "[fake] the step failed");
  }

  std::shared_ptr<StepHandle> sample(const LateInputs&) override {
    StepResult result;
    for (std::size_t s = 0; s < batch_.slots.size(); ++s) {
      const std::int32_t slot = batch_.slots[s];
      EXPECT_EQ(batch_.cached_tokens[s], cached_[slot]) << "the cache has a gap";
      cached_[slot] += batch_.token_begin[s + 1] - batch_.token_begin[s];
      EXPECT_LE(cached_[slot],
                static_cast<std::int64_t>(tables_[slot].size()) * options_.tokens_per_block);
      SequenceResult row;
      if (batch_.sample_row[s] >= 0) {
        const std::int32_t last =
            batch_.token_ids[static_cast<std::size_t>(batch_.token_begin[s + 1]) - 1];
        row.tokens = {static_cast<std::int32_t>((last + 1) % traits_.vocab_size)};
      }
      result.sequences.push_back(std::move(row));
    }
    return std::make_shared<Done>(std::move(result));
  }

  Tensor read(std::string_view) override { throw Error(ErrorCode::kNotFound, "no outputs"); }
  const SessionOptions& options() const override { return options_; }
  const EngineTraits& traits() const override { return traits_; }
  const std::vector<CacheGroup>& cache_groups() const override { return groups_; }
  const Ledger& ledger() const override { return ledger_; }
  std::string describe() const override { return "fake"; }
  std::vector<std::pair<std::string, int>> kernels() const override { return {}; }
  bool keeps_last_tokens() const override { return true; }

 private:
  class Done : public StepHandle {
   public:
    explicit Done(StepResult result) : result_(std::move(result)) {}
    bool ready() const override { return true; }
    const StepResult& wait() override { return result_; }

   private:
    StepResult result_;
  };

  void check_no_block_is_shared(const Batch& batch) {
    std::map<std::int32_t, std::int32_t> owner;
    for (const std::int32_t slot : batch.slots)
      for (const std::int32_t block : tables_[slot]) {
        EXPECT_LT(block, groups_[0].blocks);
        const auto [found, fresh] = owner.emplace(block, slot);
        EXPECT_TRUE(fresh) << "slots " << found->second << " and " << slot << " share block "
                           << block;
      }
  }

  SessionOptions options_;
  EngineTraits traits_;
  std::vector<CacheGroup> groups_;
  Ledger ledger_;
  Batch batch_;
  std::map<std::int32_t, std::vector<std::int32_t>> tables_;
  std::map<std::int32_t, std::int64_t> cached_;
};

}  // namespace tenon::test
