// Attention on tensor cores: a grid of shapes against the CPU's fp32 reference, and what a row's
// bits may depend on.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "backends/cuda/storage.h"
#include "cuda_attention_support.h"

namespace tenon::cuda {
namespace {

// Weights of the softmax are rounded to 16 bits before they meet the values. The reference reads
// the same codes of a cache in 8 bits, so that their rounding is no difference.
constexpr float kRounding = 4e-3F;

constexpr DataType kTypes[] = {DataType::kBFloat16, DataType::kFloat16, DataType::kFloat8E4M3,
                               DataType::kInt8};

DataType queries_of(DataType cache) { return size_of(cache) == 1 ? DataType::kBFloat16 : cache; }

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
        both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
      }
    }
}

// More heads to a key-value head than half a product has rows; those of 256 read queries again.
TEST(CudaAttentionFast, GroupsOfTwentyHeads) {
  TENON_NEEDS_GPU();
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {80, 128, 256}) {
      CacheCase c{.dtype = type, .kv_heads = 1, .head_dim = head_dim};
      c.cached = {0, 16, 63, 300, 5};
      c.fresh = {1, 1, 1, 1, 9};
      BothCaches both(c);
      write_plainly(both, c);
      const Attention op{.heads = 20, .kv_heads = 1, .head_dim = head_dim, .scale = 0.1F};
      both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
    }
}

TEST(CudaAttentionFast, LongRaggedContexts) {
  TENON_NEEDS_GPU();
  for (const auto& [block, type] :
       {std::pair{16, DataType::kBFloat16}, {128, DataType::kBFloat16}, {32, DataType::kInt8}}) {
    CacheCase c{.dtype = type, .kv_heads = 1, .head_dim = 128, .block_tokens = block};
    c.cached = {8191, 3, 1000, 4500, 2000, 0, 500};
    c.fresh = {1, 1, 1, 1, 60, 200, 1};
    BothCaches both(c);
    write_plainly(both, c);
    const Attention op{.heads = 4, .kv_heads = 1, .head_dim = 128, .scale = 0.0884F};
    both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
  }
}

// Units of more than the fewest tiles, with more heads than half a product has rows.
TEST(CudaAttentionFast, UnitsOfALongContext) {
  TENON_NEEDS_GPU();
  CacheCase c{.dtype = DataType::kBFloat16, .kv_heads = 1, .cached = {9000, 8191}, .fresh = {1, 1}};
  BothCaches both(c);
  write_plainly(both, c);
  const Attention op{.heads = 12, .kv_heads = 1, .head_dim = 64, .scale = 0.1F};
  both.expect_attention_agrees(op, kRounding, describe(Op(op)), {DataType::kBFloat16});
}

// More sequences than a block keeps at hand; one of them has a chunk, one nothing.
TEST(CudaAttentionFast, ManyShortContexts) {
  TENON_NEEDS_GPU();
  for (const auto& [head_dim, type] :
       {std::pair{64, DataType::kBFloat16}, {128, DataType::kFloat8E4M3}}) {
    CacheCase c{.dtype = type, .kv_heads = 1, .head_dim = head_dim};
    c.cached.clear();
    for (int s = 0; s < 300; ++s) c.cached.push_back(s * 7 % 97 + (s == 290 ? 300 : 0));
    c.fresh.assign(c.cached.size(), 1);
    c.fresh[5] = 0;
    c.fresh[270] = 20;
    BothCaches both(c);
    write_plainly(both, c);
    for (const std::int64_t window : {0, 30}) {
      const Attention op{
          .heads = 3, .kv_heads = 1, .head_dim = head_dim, .scale = 0.1F, .window = window};
      both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
    }
  }
}

TEST(CudaAttentionFast, Windows) {
  TENON_NEEDS_GPU();
  for (const auto& [head_dim, type] : {std::pair{64, DataType::kBFloat16},
                                       {128, DataType::kBFloat16},
                                       {256, DataType::kFloat16},
                                       {64, DataType::kInt8},
                                       {128, DataType::kFloat8E4M3}}) {
    CacheCase c{.dtype = type, .head_dim = head_dim};
    c.cached = {0, 5, 130, 33, 1000, 127, 700};
    c.fresh = {7, 1, 1, 40, 1, 129, 150};
    BothCaches both(c);
    write_plainly(both, c);
    for (const std::int64_t window : {1, 2, 63, 64, 65, 128, 300}) {
      const Attention op{
          .heads = 6, .kv_heads = 2, .head_dim = head_dim, .scale = 0.2F, .window = window};
      both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
    }
  }
}

TEST(CudaAttentionFast, EveryAttribute) {
  TENON_NEEDS_GPU();
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {64, 96, 128, 256}) {
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
        both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
    }
}

// A step of many decodes shares sequences out among blocks; each alone is split otherwise.
TEST(CudaAttentionFast, DecodeDoesNotDependOnCompany) {
  TENON_NEEDS_GPU();
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat8E4M3, DataType::kInt8}) {
    CacheCase c{.dtype = type, .head_dim = 128};
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
    const Tensor together = both.attend(entry, op, all, q, queries_of(type), 3);
    for (const std::int32_t s : {0, 1, 7, 8, 39}) {
      Batch one = make_batch({c.cached[static_cast<std::size_t>(s)]}, {1});
      one.slots = {s};
      Tensor row(DataType::kFloat32, {1, width});
      const auto bytes = static_cast<std::size_t>(width) * sizeof(float);
      std::memcpy(row.mutable_data(), q.view().as<float>() + s * width, bytes);
      const Tensor alone = both.attend(entry, op, one, row, queries_of(type), 2);
      EXPECT_EQ(std::memcmp(alone.data(), together.view().as<float>() + s * width, bytes), 0)
          << to_string(type) << " sequence " << s;
    }
  }
}

// Blocks hold NaN where no token was written: codes, scales and 16 bits of all ones.
TEST(CudaAttentionFast, WhatNoTokenWroteIsNotSeen) {
  TENON_NEEDS_GPU();
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {64, 128, 256}) {
      CacheCase c{.dtype = type, .head_dim = head_dim, .block_tokens = 64};
      c.cached = {0, 5, 200, 60};
      c.fresh = {7, 1, 70, 1};
      BothCaches both(c);
      both.fill_device_cache(0xFF);
      write_plainly(both, c);
      const Attention op{.heads = 4, .kv_heads = 2, .head_dim = head_dim, .scale = 0.1F};
      both.expect_attention_agrees(op, kRounding, describe(Op(op)), {queries_of(c.dtype)});
    }
}

TEST(CudaAttentionFast, RowsDoNotDependOnTheirChunk) {
  TENON_NEEDS_GPU();
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat8E4M3, DataType::kInt8})
    for (const std::int64_t window : {0, 50}) {
      CacheCase c{.dtype = type, .cached = {90}, .fresh = {150}};
      BothCaches both(c);
      write_plainly(both, c);
      const Attention op{
          .heads = 6, .kv_heads = 2, .head_dim = 64, .scale = 0.2F, .window = window};
      const std::int64_t width = op.heads * op.head_dim;
      const Tensor q = random_tensor({150, width}, 5);
      const auto& entry = entry_of("attention_mma_rows");
      const Tensor whole = both.attend(entry, op, make_batch({90}, {150}), q, queries_of(type));
      for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {38, 1}, {149, 1}, {40, 77}}) {
        Tensor rows(DataType::kFloat32, {count, width});
        const auto bytes = static_cast<std::size_t>(count * width) * sizeof(float);
        std::memcpy(rows.mutable_data(), q.view().as<float>() + first * width, bytes);
        const Tensor part =
            both.attend(entry, op, make_batch({90 + first}, {count}), rows, queries_of(type));
        EXPECT_EQ(std::memcmp(part.data(), whole.view().as<float>() + first * width, bytes), 0)
            << to_string(type) << " tokens from " << first << " of window " << window;
      }
    }
}

// Products over 8 bits may be in float16: queries and scales of values past its range are no
// trouble.
TEST(CudaAttentionFast, CodesOfAnySize) {
  TENON_NEEDS_GPU();
  for (const auto& [type, queries, values] : {std::tuple{DataType::kInt8, 1e20F, 1e30F},
                                              {DataType::kInt8, 1e-20F, 1e-30F},
                                              {DataType::kFloat8E4M3, 1e20F, 1.F},
                                              {DataType::kFloat8E4M3, 1e-20F, 50.F}})
    for (const std::int64_t heads : {4, 24}) {
      CacheCase c{.dtype = type, .cached = {0, 5, 130, 700, 40}, .fresh = {1, 1, 1, 1, 30}};
      BothCaches both(c);
      write_plainly(both, c, values);
      const Attention op{.heads = heads, .kv_heads = 2, .head_dim = 64, .scale = 0.2F / queries};
      const Batch batch = make_batch(c.cached, c.fresh);
      const Tensor q =
          rounded_to(random_tensor({batch.tokens(), heads * 64}, 5, queries), DataType::kBFloat16);
      Tensor expected = both.reference(op, batch, q);
      for (const char* name : {"attention_hopper", "attention_mma", "attention_mma_rows"}) {
        if (std::string(name) == "attention_hopper" && !test_features().hopper()) continue;
        Tensor got = both.attend(entry_of(name), op, batch, q, DataType::kBFloat16);
        for (std::int64_t i = 0; i < got.view().elements(); ++i)
          ASSERT_NEAR(got.view().as<float>()[i] / values, expected.view().as<float>()[i] / values,
                      0.03F)
              << name << " " << to_string(type) << " " << queries << " element " << i;
      }
    }
}

NodeView node_of(DataType cache, DataType queries, std::int64_t head_dim) {
  NodeView node;
  node.inputs = {ValueType::tensor(queries, {4, 8 * head_dim})};
  node.outputs = node.inputs;
  node.cache = {.kv_heads = 2, .head_dim = head_dim, .dtype = cache, .tokens_per_block = 32};
  return node;
}

// Needs no GPU. A grid that compares all kernels which serve a case would not notice that none but
// the plain one does.
TEST(CudaAttentionChoice, EachCacheTypeHasFastKernels) {
  const DeviceFeatures h200{.capability = 90, .multiprocessors = 132, .shared_bytes = 232448};
  for (const DataType type : kTypes)
    for (const std::int64_t head_dim : {64, 80, 96, 128, 256}) {
      const Attention op{.heads = 8, .kv_heads = 2, .head_dim = head_dim};
      const NodeView node = node_of(type, queries_of(type), head_dim);
      for (const char* name : {"attention_mma", "attention_mma_rows"})
        EXPECT_EQ(entry_of(name).reject(op, node, h200), "") << to_string(type) << " " << head_dim;
      const bool hopper =
          head_dim == 64 || head_dim == 128 || (head_dim == 256 && size_of(type) == 2);
      EXPECT_EQ(entry_of("attention_hopper").reject(op, node, h200).empty(), hopper)
          << to_string(type) << " " << head_dim;
    }
}

// Queries over codes were once held in float32, and then no fast kernel could read them.
TEST(CudaAttentionChoice, QueriesAreStoredAsTheFastKernelsReadThem) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16, DataType::kFloat8E4M3,
                              DataType::kInt8, DataType::kFloat32}) {
    ProgramDescription program;
    const ValueType rows = ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 512});
    program.values = {{"x", rows, 0}, {"q", rows, 0}, {"out", rows, 0}};
    program.weights = {{"gain", {512}, {}}};
    program.cache = {{.layers = {0}, .kv_heads = 2, .head_dim = 64, .dtype = type}};
    const Attention op{.heads = 8, .kv_heads = 2, .head_dim = 64};
    program.nodes = {{Norm{}, {0}, {1}, {0}}, {op, {1}, {2}, {}}};
    program.outputs = {2};
    program.policy.activation = DataType::kBFloat16;
    EXPECT_EQ(storage_types(program)[1], queries_of(type)) << to_string(type);
  }
}

TEST(CudaAttentionChoice, SaysWhyNot) {
  using testing::HasSubstr;
  const Attention op{.heads = 8, .kv_heads = 2, .head_dim = 128};
  const DeviceFeatures h200{.capability = 90, .multiprocessors = 132, .shared_bytes = 232448};
  const auto why = [&](const char* name, DataType cache, DataType queries,
                       const DeviceFeatures& features) {
    return entry_of(name).reject(op, node_of(cache, queries, 128), features);
  };
  const auto bf16 = DataType::kBFloat16;
  EXPECT_THAT(why("attention_mma", DataType::kFloat32, bf16, h200), HasSubstr("holds float32"));
  EXPECT_THAT(why("attention_mma", DataType::kInt8, DataType::kFloat16, h200),
              HasSubstr("must be bfloat16"));
  EXPECT_THAT(why("attention_mma", bf16, DataType::kFloat16, h200), HasSubstr("must be bfloat16"));
  EXPECT_EQ(why("attention_hopper", DataType::kInt8, bf16, h200), "");
  EXPECT_THAT(why("attention_hopper", DataType::kInt8, DataType::kFloat16, h200),
              HasSubstr("must be bfloat16"));
  const Attention wide{.heads = 8, .kv_heads = 2, .head_dim = 256};
  EXPECT_THAT(entry_of("attention_hopper").reject(wide, node_of(DataType::kInt8, bf16, 256), h200),
              HasSubstr("head_dim 256 over a cache of int8"));
  NodeView blocks = node_of(bf16, bf16, 256);
  for (const std::int64_t tokens : {8, 16, 32, 64}) {
    blocks.cache.tokens_per_block = tokens;
    EXPECT_EQ(entry_of("attention_hopper").reject(wide, blocks, h200), "") << tokens;
  }
  blocks.cache.tokens_per_block = 128;
  EXPECT_THAT(entry_of("attention_hopper").reject(wide, blocks, h200),
              HasSubstr("blocks of 128 tokens are none of 8, 16, 32, 64"));
  EXPECT_EQ(entry_of("attention_mma").reject(wide, blocks, h200), "");
  EXPECT_EQ(entry_of("attention_hopper").reject(op, node_of(bf16, bf16, 128), h200), "");
  // Decodes once failed when they were launched on a device with less shared memory than Hopper.
  const DeviceFeatures small{.capability = 89, .multiprocessors = 128, .shared_bytes = 101376};
  EXPECT_THAT(why("attention_mma", bf16, bf16, small), HasSubstr("shared memory"));
  EXPECT_THAT(why("attention_hopper", bf16, bf16, small), HasSubstr("capability 9.0"));
  EXPECT_EQ(why("attention_mma_rows", bf16, bf16, small), "");
  EXPECT_EQ(why("attention_mma_rows", DataType::kInt8, bf16, small), "");
}

}  // namespace
}  // namespace tenon::cuda
