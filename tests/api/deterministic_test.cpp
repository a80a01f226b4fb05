// Deterministic mode: a sequence's logits have the same bits whatever else is in the batch, however
// its prompt is cut, wherever its blocks lie and however large they are.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "session_support.h"

namespace tenon::test {
namespace {

constexpr std::int32_t kLength = 75;

std::vector<std::int32_t> prompt() {
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < kLength; ++i) tokens.push_back((i * 37 + 11) % 96);
  return tokens;
}

struct Layout {
  std::vector<std::int32_t> chunks;  ///< of the prompt, in order
  bool company = false;              ///< other sequences share every step
  bool scattered = false;            ///< its blocks lie in no order
};

/// Logits of the prompt's last token.
std::vector<float> logits_of(const SessionOptions& options, const Layout& layout) {
  PretrainedConfig config = random_config(128, 3);
  config.layer_windows = {0, 40, 0};
  const auto session = load_random(config, options);
  const auto per_block = static_cast<std::int32_t>(options.tokens_per_block);
  const std::int32_t blocks = (kLength + per_block - 1) / per_block;
  std::vector<std::int32_t> mine = blocks_from(0, blocks);
  if (layout.scattered)
    for (std::int32_t i = 0; i < blocks; ++i) mine[static_cast<std::size_t>(i)] = 2 * (blocks - i);
  const std::vector<std::int32_t> tokens = prompt();
  std::int32_t done = 0;
  std::int32_t others = 0;
  std::vector<float> row;
  for (const std::int32_t chunk : layout.chunks) {
    std::vector<Rows> rows;
    std::vector<SlotUpdate> starts;
    if (layout.company) {  // a decode before it and a context behind it
      rows.push_back({1, others, {others % 96}});
      if (others == 0)
        starts.push_back(start_slot(*session, 1, blocks_from(2 * blocks + 1, blocks)));
    }
    if (done == 0) starts.push_back(start_slot(*session, 0, mine));
    rows.push_back({0, done, {tokens.begin() + done, tokens.begin() + done + chunk}});
    if (layout.company) {
      starts.push_back(start_slot(*session, 2, blocks_from(3 * blocks + 1, blocks)));
      rows.push_back({2, 0, std::vector<std::int32_t>(static_cast<std::size_t>(7 + done % 9), 3)});
    }
    issue(*session, batch_of(rows, starts))->wait();
    const Tensor logits = session->read("logits");
    const float* first = logits.view().as<float>() + (layout.company ? 96 : 0);
    row.assign(first, first + 96);
    done += chunk;
    ++others;
  }
  EXPECT_EQ(done, kLength);
  return row;
}

SessionOptions deterministic_options() {
  SessionOptions options = small_options();
  options.policy.deterministic = true;
  options.kv_cache.max_tokens = 64 * 128;
  return options;
}

const std::vector<Layout> kLayouts = {
    {{75}},
    {{75}, true},
    {{75}, false, true},
    {{1, 74}},
    {{32, 32, 11}},
    {{33, 1, 1, 40}, true, true},
    {std::vector<std::int32_t>(75, 1), true},
};

void expect_same_bits(const SessionOptions& options, const std::vector<float>& expected) {
  for (std::size_t i = 0; i < kLayouts.size(); ++i) {
    const std::vector<float> got = logits_of(options, kLayouts[i]);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t v = 0; v < got.size(); ++v)
      ASSERT_EQ(got[v], expected[v])
          << "layout " << i << ", " << options.tokens_per_block << " tokens a block, token " << v;
  }
}

TEST(Deterministic, SameBitsWhateverTheBatchTheChunksAndTheBlocks) {
  for (const DataType cache : {DataType::kFloat32, DataType::kBFloat16}) {
    SessionOptions options = deterministic_options();
    options.cache_dtype = cache;
    const auto expected = logits_of(options, kLayouts[0]);
    for (const std::int64_t size : {16, 128}) {
      options.tokens_per_block = size;
      expect_same_bits(options, expected);
    }
  }
}

TEST(Deterministic, SameBitsWhateverTheThreads) {
  SessionOptions options = deterministic_options();
  const auto expected = logits_of(options, kLayouts[0]);
  for (const int threads : {1, 3}) {
    options.threads = threads;
    expect_same_bits(options, expected);
  }
}

TEST(Deterministic, SameBitsWithRoundedActivations) {
  SessionOptions options = deterministic_options();
  options.policy.activation = DataType::kBFloat16;
  expect_same_bits(options, logits_of(options, kLayouts[0]));
}

}  // namespace
}  // namespace tenon::test
