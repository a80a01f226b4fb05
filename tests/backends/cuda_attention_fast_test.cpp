// Attention on tensor cores: a grid of shapes against the CPU's fp32 reference, and what a row's
// bits may depend on.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_attention_support.h"

namespace tenon::cuda {
namespace {

// Weights of the softmax are rounded to the cache's type before they meet the values.
constexpr float kRounding = 4e-3F;

constexpr DataType kTypes[] = {DataType::kBFloat16, DataType::kFloat16};

const KernelEntry<Attention>& entry_of(const std::string& name) {
  for (const KernelEntry<Attention>& entry : device_kernels<Attention>())
    if (name == entry.name) return entry;
  fail(ErrorCode::kNotFound, "no kernel {}", name);
}

TEST(CudaAttentionFast, HeadSizesAndGroups) {
  TENON_NEEDS_GPU();
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {64, 80, 96, 128, 256}) {
      CacheCase c{.dtype = type, .head_dim = head_dim, .block_tokens = 32};
      c.cached = {0, 0, 0, 15, 16, 63, 64, 200, 40, 255, 256, 700};
      c.fresh = {1, 16, 130, 1, 1, 1, 5, 70, 0, 1, 1, 3};
      BothCaches both(c);
      write_plainly(both, c);
      for (const std::int64_t group : {1, 3, 4, 8, 20}) {
        if (group > 8 && head_dim != 64) continue;
        const Attention op{.heads = 2 * group, .kv_heads = 2, .head_dim = head_dim, .scale = 0.1F};
        both.expect_attention_agrees(op, kRounding, describe(Op(op)), {c.dtype});
      }
    }
}

TEST(CudaAttentionFast, LongRaggedContexts) {
  TENON_NEEDS_GPU();
  for (const std::int64_t block : {16, 128}) {
    CacheCase c{
        .dtype = DataType::kBFloat16, .kv_heads = 1, .head_dim = 128, .block_tokens = block};
    c.cached = {8191, 3, 1000, 4500, 2000, 0, 500};
    c.fresh = {1, 1, 1, 1, 60, 200, 1};
    BothCaches both(c);
    write_plainly(both, c);
    const Attention op{.heads = 4, .kv_heads = 1, .head_dim = 128, .scale = 0.0884F};
    both.expect_attention_agrees(op, kRounding, describe(Op(op)), {c.dtype});
  }
}

TEST(CudaAttentionFast, Windows) {
  TENON_NEEDS_GPU();
  for (const std::int64_t head_dim : {64, 128}) {
    CacheCase c{.dtype = DataType::kBFloat16, .head_dim = head_dim};
    c.cached = {0, 5, 130, 33, 1000, 127, 700};
    c.fresh = {7, 1, 1, 40, 1, 129, 150};
    BothCaches both(c);
    write_plainly(both, c);
    for (const std::int64_t window : {1, 2, 63, 64, 65, 128, 300}) {
      const Attention op{
          .heads = 6, .kv_heads = 2, .head_dim = head_dim, .scale = 0.2F, .window = window};
      both.expect_attention_agrees(op, kRounding, describe(Op(op)), {c.dtype});
    }
  }
}

TEST(CudaAttentionFast, EveryAttribute) {
  TENON_NEEDS_GPU();
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {64, 96, 128}) {
      CacheCase c{.dtype = type, .head_dim = head_dim};
      c.cached = {0, 5, 130, 33, 300};
      c.fresh = {7, 1, 1, 40, 140};
      BothCaches both(c);
      write_plainly(both, c);
      const Attention plain{.heads = 6, .kv_heads = 2, .head_dim = head_dim, .scale = 0.2F};
      std::vector<Attention> ops(6, plain);
      ops[0].softcap = 3.F;
      ops[1].alibi = true;
      ops[1].head_begin = 2;
      ops[1].total_heads = 12;
      ops[2].relative_bias = true;
      ops[2].relative_max_distance = 40;
      ops[3].mask = AttentionMask::kBidirectional;
      ops[4].mask = AttentionMask::kBidirectional;
      ops[4].relative_bias = true;
      ops[4].window = 30;
      ops[5].window = 9;
      ops[5].softcap = 5.F;
      for (const Attention& op : ops)
        both.expect_attention_agrees(op, kRounding, describe(Op(op)), {c.dtype});
    }
}

// A step of many decodes shares sequences out among blocks; each alone is split otherwise.
TEST(CudaAttentionFast, DecodeDoesNotDependOnCompany) {
  TENON_NEEDS_GPU();
  CacheCase c{.dtype = DataType::kBFloat16, .head_dim = 128};
  c.cached.clear();
  for (int s = 0; s < 40; ++s) c.cached.push_back(s == 7 ? 9000 : 37 * s);
  c.fresh.assign(c.cached.size(), 1);
  BothCaches both(c);
  write_plainly(both, c);
  const Attention op{.heads = 8, .kv_heads = 2, .head_dim = 128, .scale = 0.1F};
  const std::int64_t width = op.heads * op.head_dim;
  const Tensor q = random_tensor({40, width}, 5);
  const auto& entry = entry_of("attention_mma");
  const Batch all = make_batch(c.cached, c.fresh);
  const Tensor together = both.attend(entry, op, all, q, c.dtype, 3);
  for (const std::int32_t s : {0, 1, 7, 8, 39}) {
    Batch one = make_batch({c.cached[static_cast<std::size_t>(s)]}, {1});
    one.slots = {s};
    Tensor row(DataType::kFloat32, {1, width});
    const auto bytes = static_cast<std::size_t>(width) * sizeof(float);
    std::memcpy(row.mutable_data(), q.view().as<float>() + s * width, bytes);
    const Tensor alone = both.attend(entry, op, one, row, c.dtype, 2);
    EXPECT_EQ(std::memcmp(alone.data(), together.view().as<float>() + s * width, bytes), 0)
        << "sequence " << s;
  }
}

TEST(CudaAttentionFast, RowsDoNotDependOnTheirChunk) {
  TENON_NEEDS_GPU();
  for (const std::int64_t window : {0, 50}) {
    CacheCase c{.dtype = DataType::kBFloat16, .cached = {90}, .fresh = {150}};
    BothCaches both(c);
    write_plainly(both, c);
    const Attention op{.heads = 6, .kv_heads = 2, .head_dim = 64, .scale = 0.2F, .window = window};
    const std::int64_t width = op.heads * op.head_dim;
    const Tensor q = random_tensor({150, width}, 5);
    const auto& entry = entry_of("attention_mma_rows");
    const Tensor whole = both.attend(entry, op, make_batch({90}, {150}), q, c.dtype);
    for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {38, 1}, {149, 1}, {40, 77}}) {
      Tensor rows(DataType::kFloat32, {count, width});
      const auto bytes = static_cast<std::size_t>(count * width) * sizeof(float);
      std::memcpy(rows.mutable_data(), q.view().as<float>() + first * width, bytes);
      const Tensor part = both.attend(entry, op, make_batch({90 + first}, {count}), rows, c.dtype);
      EXPECT_EQ(std::memcmp(part.data(), whole.view().as<float>() + first * width, bytes), 0)
          << "tokens from " << first << " of window " << window;
    }
  }
}

}  // namespace
}  // namespace tenon::cuda
