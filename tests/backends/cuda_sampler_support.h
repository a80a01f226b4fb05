// Both samplers side by side: the same updates, the same logits, and what they give compared.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/slots.h"
#include "backends/cuda/sampler.h"
#include "cpu_sampler_support.h"
#include "cuda_support.h"

namespace tenon::cuda {

inline SlotUpdate start(std::int32_t slot, const SamplingParams& params,
                        std::vector<std::int32_t> history = {},
                        std::vector<std::int32_t> end_ids = {}) {
  SlotUpdate update{.slot = slot, .reset = true};
  update.sampling = params;
  update.sample_index = slot;
  update.history = std::move(history);
  update.end_ids = std::move(end_ids);
  return update;
}

inline SlotUpdate follow(std::int32_t slot, std::int32_t parent, std::int32_t token) {
  SlotUpdate update{.slot = slot};
  update.parent = parent;
  update.outputs = {token};
  return update;
}

class Twins {
 public:
  Twins(std::int32_t slots, std::int32_t vocabulary, std::int32_t length = 200)
      : count_(slots),
        vocabulary_(vocabulary),
        last_(slots * 4, "test"),
        sampler_({.slots = slots,
                  .sequences = slots,
                  .vocabulary = vocabulary,
                  .sequence_length = length},
                 last_.as<std::int32_t>()),
        place_{PinnedBuffer(slots * static_cast<std::int64_t>(sizeof(SampledSequence)), "test"),
               PinnedBuffer(), Event()},
        slots_(slots, groups_),
        reference_(vocabulary) {}

  /// One batch's updates; they are made before the next step.
  void apply(const std::vector<SlotUpdate>& updates) {
    sampler_.take(updates);
    slots_.apply(updates);
  }

  /// All slots get a token, from `logits` (a row each, or one for all), or list a beam's
  /// continuations. Gives what the CPU's sampler gave.
  std::vector<SequenceResult> step(const std::vector<std::vector<float>>& logits,
                                   std::int32_t position, const LateInputs& late = {}) {
    const auto count = static_cast<std::size_t>(count_);
    Batch batch = make_batch(std::vector<std::int32_t>(count, position - 1),
                             std::vector<std::int32_t>(count, 1));
    Tensor rows(DataType::kFloat32, {count_, vocabulary_});
    for (std::int32_t s = 0; s < count_; ++s) {
      batch.sample_row[static_cast<std::size_t>(s)] = s;
      batch.logit_rows.push_back(s);
      const auto& row = logits[static_cast<std::size_t>(s) % logits.size()];
      std::copy(row.begin(), row.end(), rows.mutable_as<float>() + std::int64_t{s} * vocabulary_);
    }
    DeviceStep step(batch);
    const DeviceTensor device(rows, DataType::kFloat32);
    upload_.clear();
    const SamplerPieces pieces = sampler_.encode(batch, upload_);
    upload_.send(stream_.get());
    sampler_.apply(pieces, upload_, stream_.get());
    sampler_.sample(device.ref().as<float>(), step.context().view, batch, pieces, upload_, late,
                    place_, stream_.get());
    stream_.synchronize();
    std::vector<SequenceResult> out;
    for (std::int32_t s = 0; s < count_; ++s) {
      const auto at = static_cast<std::size_t>(s);
      std::span<const float> row = logits[at % logits.size()];
      if (!late.logits.empty() && !late.logits[at].empty()) row = late.logits[at];
      std::span<const std::uint32_t> allowed;
      if (!late.allowed_tokens.empty()) allowed = late.allowed_tokens[at];
      out.push_back(expected(s, row, position, allowed));
      SCOPED_TRACE("slot " + std::to_string(s) + ", position " + std::to_string(position));
      compare(to_result(place_.memory.as<SampledSequence>()[at], place_.listed.as<ListedToken>()),
              out.back());
    }
    return out;
  }

  const cpu::SamplingState& state(std::int32_t slot) const { return slots_.at(slot).sampling; }

 private:
  SequenceResult expected(std::int32_t slot, std::span<const float> row, std::int32_t position,
                          std::span<const std::uint32_t> allowed) {
    const cpu::SamplingState& state = slots_.at(slot).sampling;
    SequenceResult out;
    if (state.params.beam_width > 1) {
      out.top_logprobs = {reference_.beam(row, state, allowed)};
      return out;
    }
    const cpu::SampledToken sampled = reference_(row, state, position, allowed);
    if (sampled.token < 0) return out;
    out.tokens = {sampled.token};
    if (state.params.logprobs) {
      out.logprobs = {sampled.logprob};
      out.top_logprobs = {sampled.top};
    }
    slots_.record(slot, sampled.token);
    return out;
  }

  static void compare(const SequenceResult& got, const SequenceResult& expected) {
    ASSERT_EQ(got.tokens, expected.tokens);
    ASSERT_EQ(got.logprobs.size(), expected.logprobs.size());
    for (std::size_t i = 0; i < got.logprobs.size(); ++i)
      EXPECT_NEAR(got.logprobs[i], expected.logprobs[i], 2e-5F);
    ASSERT_EQ(got.top_logprobs.size(), expected.top_logprobs.size());
    for (std::size_t i = 0; i < got.top_logprobs.size(); ++i) {
      ASSERT_EQ(got.top_logprobs[i].size(), expected.top_logprobs[i].size());
      for (std::size_t t = 0; t < expected.top_logprobs[i].size(); ++t) {
        const TokenLogprob& want = expected.top_logprobs[i][t];
        EXPECT_EQ(got.top_logprobs[i][t].token, want.token) << "place " << t;
        EXPECT_NEAR(got.top_logprobs[i][t].logprob, want.logprob,
                    2e-5F * (1.F + std::fabs(want.logprob)));
      }
    }
  }

  std::int32_t count_;
  std::int32_t vocabulary_;
  DeviceBuffer last_;
  Stream stream_;
  Sampler sampler_;
  Upload upload_;
  ResultPlace place_;
  std::vector<CacheGroupDescription> groups_ = {{.blocks = 1}};
  cpu::Slots slots_;
  cpu::Sampler reference_;
};

}  // namespace tenon::cuda
