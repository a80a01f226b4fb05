// The device's sampler draws the tokens that the CPU's draws, from the same logits.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/sampler.h"

#include "cpu_sampler_support.h"
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

using cpu::random_logits;

// One slot, one sequence a step: the token to be sampled is number `position` of its sequence.
class DeviceSampler {
 public:
  DeviceSampler(std::int32_t vocabulary, const SlotUpdate& update)
      : vocabulary_(vocabulary),
        sampler_(1, 1, vocabulary, last_.as<std::int32_t>()),
        host_(sizeof(SampledSequence), "test") {
    apply(update);
  }

  void apply(const SlotUpdate& update) {
    Upload upload;
    const SamplerPieces pieces = sampler_.encode({&update, 1}, upload);
    upload.send(stream_.get());
    sampler_.apply(pieces, upload, stream_.get());
    stream_.synchronize();
  }

  SequenceResult operator()(const std::vector<float>& logits, std::int32_t position,
                            const std::vector<std::uint32_t>& allowed = {}) {
    Batch batch = make_batch({position - 1}, {1});
    batch.sample_row = {0};
    batch.logit_rows = {0};
    DeviceStep step(batch);
    Tensor row(DataType::kFloat32, {1, vocabulary_});
    std::memcpy(row.mutable_data(), logits.data(), row.bytes());
    const DeviceTensor device(row, DataType::kFloat32);
    LateInputs late;
    if (!allowed.empty()) late.allowed_tokens = {allowed};
    sampler_.sample(device.ref().as<float>(), step.context().view, batch, late,
                    host_.as<SampledSequence>(), stream_.get());
    stream_.synchronize();
    return to_result(*host_.as<SampledSequence>());
  }

 private:
  std::int32_t vocabulary_;
  DeviceBuffer last_{sizeof(std::int32_t), "test"};
  Stream stream_;
  Sampler sampler_;
  PinnedBuffer host_;
};

SlotUpdate start(const SamplingParams& params, std::vector<std::int32_t> history = {},
                 std::vector<std::int32_t> end_ids = {}) {
  SlotUpdate update{.slot = 0, .reset = true};
  update.sampling = params;
  update.history = std::move(history);
  update.end_ids = std::move(end_ids);
  return update;
}

void expect_same_tokens(SamplingParams params, std::size_t vocabulary, float deviation,
                        int draws = 40, const std::vector<std::uint32_t>& allowed = {}) {
  params.seed = 99;
  const std::vector<std::int32_t> history = {1, 2, 2, 5, 9};
  const std::vector<std::int32_t> ends = {3, 4};
  DeviceSampler device(static_cast<std::int32_t>(vocabulary), start(params, history, ends));
  cpu::Sampler sampler(static_cast<std::int64_t>(vocabulary));
  cpu::SamplingState state = cpu::with(params);
  state.end_ids = ends;
  state.add_prompt(history);
  for (int i = 1; i <= draws; ++i) {
    const auto logits = random_logits(vocabulary, static_cast<unsigned>(i), deviation);
    const cpu::SampledToken expected = sampler(logits, state, i, allowed);
    const SequenceResult got = device(logits, i, allowed);
    ASSERT_EQ(got.tokens.size(), expected.token < 0 ? 0U : 1U);
    if (expected.token < 0) continue;
    ASSERT_EQ(got.tokens[0], expected.token) << "draw " << i;
    state.record(expected.token);
    if (!params.logprobs) continue;
    EXPECT_NEAR(got.logprobs[0], expected.logprob, 2e-5F);
    ASSERT_EQ(got.top_logprobs[0].size(), expected.top.size());
    for (std::size_t t = 0; t < expected.top.size(); ++t) {
      EXPECT_EQ(got.top_logprobs[0][t].token, expected.top[t].token);
      EXPECT_NEAR(got.top_logprobs[0][t].logprob, expected.top[t].logprob, 2e-5F);
    }
  }
}

constexpr std::size_t kVocabularies[] = {11, 1000, 50257};

TEST(CudaSampler, Greedy) {
  TENON_NEEDS_GPU();
  for (const std::size_t vocabulary : kVocabularies)
    expect_same_tokens({.temperature = 0.F, .logprobs = 5}, vocabulary, 3.F);
}

TEST(CudaSampler, Temperature) {
  TENON_NEEDS_GPU();
  for (const std::size_t vocabulary : kVocabularies)
    for (const float temperature : {0.3F, 1.F, 2.F})
      expect_same_tokens({.temperature = temperature}, vocabulary, 3.F);
}

TEST(CudaSampler, TopKTopPMinP) {
  TENON_NEEDS_GPU();
  for (const std::size_t vocabulary : kVocabularies) {
    expect_same_tokens({.top_k = 2}, vocabulary, 2.F);
    expect_same_tokens({.top_k = 40, .logprobs = 3}, vocabulary, 2.F);
    expect_same_tokens({.top_p = 0.9F}, vocabulary, 2.F);
    expect_same_tokens({.top_p = 0.1F}, vocabulary, 2.F);
    expect_same_tokens({.temperature = 0.7F, .top_k = 50, .top_p = 0.8F}, vocabulary, 2.F);
    expect_same_tokens({.min_p = 0.05F}, vocabulary, 2.F);
    expect_same_tokens({.top_p = 0.95F, .min_p = 0.02F}, vocabulary, 2.F);
  }
}

TEST(CudaSampler, Penalties) {
  TENON_NEEDS_GPU();
  expect_same_tokens({.temperature = 0.F, .repetition_penalty = 1.5F}, 11, 1.F);
  expect_same_tokens({.presence_penalty = 0.7F, .frequency_penalty = 0.4F}, 11, 1.F);
  expect_same_tokens({.repetition_penalty = 1.2F, .frequency_penalty = 0.2F, .min_tokens = 20}, 30,
                     1.F);
}

TEST(CudaSampler, Mask) {
  TENON_NEEDS_GPU();
  expect_same_tokens({.top_p = 0.9F}, 70, 2.F, 20, {0x10F0U, 0x3U});
  expect_same_tokens({.temperature = 0.F, .min_tokens = 50}, 70, 2.F, 20, {0x18U});  // ends alone
  expect_same_tokens({.temperature = 0.F}, 70, 2.F, 5, {0x0U});                      // nothing
}

TEST(CudaSampler, EqualLogitsGoByTheLowestId) {
  TENON_NEEDS_GPU();
  const std::vector<float> flat(5000, 1.F);
  DeviceSampler greedy(5000, start({.temperature = 0.F}));
  EXPECT_EQ(greedy(flat, 1).tokens, std::vector<std::int32_t>{0});
  SamplingParams params{.top_k = 7, .seed = 4};
  DeviceSampler device(5000, start(params));
  cpu::Sampler sampler(5000);
  const cpu::SamplingState state = cpu::with(params);
  for (std::int32_t i = 1; i < 40; ++i) {
    const auto got = device(flat, i).tokens;
    ASSERT_EQ(got.size(), 1U);
    EXPECT_LT(got[0], 7);
    EXPECT_EQ(got[0], sampler(flat, state, i).token);
  }
}

TEST(CudaSampler, RefusesWhatItDoesNotServe) {
  TENON_NEEDS_GPU();
  SamplingParams params;
  params.beam_width = 2;
  EXPECT_THROW(DeviceSampler(10, start(params)), Error);
}

}  // namespace
}  // namespace tenon::cuda
