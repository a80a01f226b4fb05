// The device's sampler on rows of every kind and length: those whose likeliest tokens fit a list,
// and those that are served however many tie or matter.
// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <limits>
#include <thread>

#include "cuda_sampler_support.h"

namespace tenon::cuda {
namespace {

using cpu::random_logits;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// As language models' rows are: a few dozens of tokens far above the others.
std::vector<float> peaked(std::size_t count, unsigned seed) {
  std::vector<float> out = random_logits(count, seed, 1.5F);
  std::mt19937 random(seed);
  for (int i = 0; i < 40; ++i) out[random() % count] += 5.F + static_cast<float>(i) / 4.F;
  return out;
}

std::vector<float> with_holes(std::size_t count, unsigned seed) {
  std::vector<float> out = peaked(count, seed);
  for (std::size_t i = 0; i < count; i += 7) out[i] = cpu::kNever;
  for (std::size_t i = 3; i < count; i += 11) out[i] = kNan;
  return out;
}

// Four values: thousands of tokens share the one that the rank of any top_k falls on.
std::vector<float> tied(std::size_t count, unsigned seed) {
  std::vector<float> out = random_logits(count, seed, 1.F);
  for (float& x : out) x = std::clamp(std::floor(x), -2.F, 1.F);
  return out;
}

// Next to nothing is left.
std::vector<float> sparse(std::size_t count, unsigned seed) {
  std::vector<float> out(count, cpu::kNever);
  std::mt19937 random(seed);
  for (int i = 0; i < 30; ++i) out[random() % count] = static_cast<float>(random() % 5);
  out.back() = 4.F;
  return out;
}

std::vector<SamplingParams> rules() {
  std::vector<SamplingParams> out = {{},
                                     {.temperature = 0.F},
                                     {.min_p = 0.01F},
                                     {.typical_p = 0.6F},
                                     {.top_k = 50, .typical_p = 0.7F},
                                     {.top_p = 0.9F, .typical_p = 0.5F},
                                     {.temperature = 0.6F, .top_k = 50, .top_p = 0.9F},
                                     {.top_k = 40, .min_p = 0.03F},
                                     {.temperature = 1.4F, .top_p = 0.95F, .min_p = 0.02F},
                                     {.temperature = 0.01F, .top_p = 0.5F},
                                     {.top_p = 0.8F, .repetition_penalty = 1.3F}};
  for (const std::int32_t top_k : {1, 2, 50, 512, 513}) out.push_back({.top_k = top_k});
  for (const float top_p : {0.1F, 0.9F, 0.999F}) out.push_back({.top_p = top_p});
  for (const std::int32_t listed : {1, 20, 512, 513}) out.push_back({.logprobs = listed});
  out.push_back({.beam_width = 4});
  return out;
}

// Seeds are such that no number falls so near to the border of two tokens that either is right.
using RowOf = std::vector<float> (*)(std::size_t, unsigned);

void expect_same(std::int32_t vocabulary, RowOf row_of, unsigned seed) {
  std::vector<SamplingParams> all = rules();
  Twins twins(static_cast<std::int32_t>(all.size()), vocabulary);
  std::vector<SlotUpdate> updates;
  for (std::size_t s = 0; s < all.size(); ++s) {
    all[s].seed = 7;
    updates.push_back(start(static_cast<std::int32_t>(s), all[s], {1, 2, 2, 5, 9}));
  }
  twins.apply(updates);
  for (unsigned i = 1; i <= 3 && !testing::Test::HasFatalFailure(); ++i)
    twins.step({row_of(static_cast<std::size_t>(vocabulary), seed + i)},
               4 + static_cast<std::int32_t>(i));
}

// A multiple of 4, and rows of which each begins elsewhere in its 16 bytes.
class CudaSamplerRows : public testing::TestWithParam<std::int32_t> {};

TEST_P(CudaSamplerRows, Peaked) {
  TENON_NEEDS_GPU();
  expect_same(GetParam(), peaked, 100);
}

TEST_P(CudaSamplerRows, Flat) {
  TENON_NEEDS_GPU();
  expect_same(
      GetParam(), [](std::size_t count, unsigned seed) { return random_logits(count, seed, 0.3F); },
      20);
}

TEST_P(CudaSamplerRows, WithHoles) {
  TENON_NEEDS_GPU();
  expect_same(GetParam(), with_holes, 40);
}

TEST_P(CudaSamplerRows, Tied) {
  TENON_NEEDS_GPU();
  expect_same(GetParam(), tied, 60);
}

TEST_P(CudaSamplerRows, Sparse) {
  TENON_NEEDS_GPU();
  expect_same(GetParam(), sparse, 80);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, CudaSamplerRows, testing::Values(3, 2050, 5003, 32000));

// What clears slots runs on the default stream, which a step's stream does not wait for.
TEST(CudaSampler, MemoryIsClearBeforeAnyStreamGetsToIt) {
  TENON_NEEDS_GPU();
  const auto keep_busy = [] {
    check(cudaLaunchHostFunc(
              nullptr, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(30)); },
              nullptr),
          "test");
  };
  const DeviceBuffer last(4, "test");
  keep_busy();
  const Sampler sampler({.slots = 1, .sequences = 1, .vocabulary = 8, .sequence_length = 8},
                        last.as<std::int32_t>());
  EXPECT_EQ(cudaStreamQuery(nullptr), cudaSuccess);
  ProgramDescription program;
  program.limits = {.tokens = 1, .sequences = 1, .logit_rows = 1};
  program.slots = 1;
  keep_busy();
  const StepState state(program);
  EXPECT_EQ(cudaStreamQuery(nullptr), cudaSuccess);
}

}  // namespace
}  // namespace tenon::cuda
