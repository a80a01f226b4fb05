// Context on Hopper against the CPU's fp32 reference over the same cache: what goes by way of the
// widening warpgroup, and heads of 256, whose tiles are smaller.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_attention_support.h"

namespace tenon::cuda {
namespace {

constexpr float kRounding = 4e-3F;  // of weights, to 16 bits

bool is_hopper() { return test_features().hopper(); }

// Enough tiles of 128 keys that every place of every ring is used again.
TEST(CudaAttentionHopper, CodesOfManyTiles) {
  TENON_NEEDS_GPU();
  if (!is_hopper()) GTEST_SKIP() << "NOT TESTED: needs compute capability 9.0";
  for (const auto& [type, head_dim, block] : {std::tuple{DataType::kFloat8E4M3, 64, 16},
                                              {DataType::kFloat8E4M3, 128, 128},
                                              {DataType::kInt8, 64, 64},
                                              {DataType::kInt8, 128, 32}}) {
    CacheCase c{.dtype = type, .head_dim = head_dim, .block_tokens = block};
    c.cached = {1300, 0, 17};
    c.fresh = {3, 140, 1};
    BothCaches both(c);
    write_plainly(both, c);
    for (const std::int64_t group : {1, 4, 8}) {
      const Attention op{.heads = 2 * group, .kv_heads = 2, .head_dim = head_dim, .scale = 0.1F};
      both.expect_attention_agrees(op, kRounding, to_string(type) + describe(Op(op)),
                                   {DataType::kBFloat16});
    }
  }
}

// Over codes of E4M3 queries are brought into float16's range row by row.
TEST(CudaAttentionHopper, RowsOfAnySize) {
  TENON_NEEDS_GPU();
  if (!is_hopper()) GTEST_SKIP() << "NOT TESTED: needs compute capability 9.0";
  for (const auto& [type, head_dim] :
       {std::pair{DataType::kFloat8E4M3, 64}, {DataType::kFloat8E4M3, 128}, {DataType::kInt8, 128}})
    for (const float softcap : {0.F, 4.F}) {
      CacheCase c{.dtype = type, .head_dim = head_dim, .cached = {150}, .fresh = {40}};
      BothCaches both(c);
      write_plainly(both, c);
      const Attention op{
          .heads = 6, .kv_heads = 2, .head_dim = head_dim, .scale = 0.1F, .softcap = softcap};
      const Batch batch = make_batch(c.cached, c.fresh);
      Tensor q = random_tensor({40, op.heads * head_dim}, 5);
      constexpr float kFactors[] = {1.F, 0.F, 1e-30F, 16.F, 1e-38F};
      for (std::int64_t i = 0; i < q.view().elements(); ++i)
        q.mutable_as<float>()[i] *= kFactors[i / head_dim % 5];
      q = rounded_to(q, DataType::kBFloat16);
      const Tensor expected = both.reference(op, batch, q);
      for (const KernelEntry<Attention>& entry : device_kernels<Attention>())
        if (std::string(entry.name) == "attention_hopper")
          expect_close(both.attend(entry, op, batch, q, DataType::kBFloat16), expected,
                       kRounding + rounding_of(DataType::kBFloat16),
                       to_string(type) + describe(Op(op)));
    }
}

// Tiles of 64 keys, in boxes of all sizes; enough that both stages are used again, in chunks after
// context and without, which end within a tile.
TEST(CudaAttentionHopper, HeadsOf256) {
  TENON_NEEDS_GPU();
  if (!is_hopper()) GTEST_SKIP() << "NOT TESTED: needs compute capability 9.0";
  for (const auto& [type, block, group] : {std::tuple{DataType::kBFloat16, 8, 1},
                                           {DataType::kBFloat16, 32, 2},
                                           {DataType::kFloat16, 16, 8},
                                           {DataType::kBFloat16, 64, 2}}) {
    CacheCase c{.dtype = type, .head_dim = 256, .block_tokens = block};
    c.cached = {400, 0, 17, 64};
    c.fresh = {3, 140, 1, 64};
    BothCaches both(c);
    write_plainly(both, c);
    const Attention plain{.heads = 2 * group, .kv_heads = 2, .head_dim = 256, .scale = 0.0625F};
    std::vector<Attention> ops(4, plain);
    ops[1].window = 70;
    ops[2].softcap = 2.F;
    ops[3].window = 100;
    ops[3].softcap = 2.F;
    const Batch batch = make_batch(c.cached, c.fresh);
    for (const Attention& op : ops) {
      const Tensor q = rounded_to(random_tensor({batch.tokens(), op.heads * op.head_dim}, 5), type);
      const Tensor expected = both.reference(op, batch, q);
      for (const KernelEntry<Attention>& entry : device_kernels<Attention>())
        if (std::string(entry.name) == "attention_hopper")
          expect_close(both.attend(entry, op, batch, q, type), expected,
                       kRounding + rounding_of(type), to_string(type) + describe(Op(op)));
    }
  }
}

}  // namespace
}  // namespace tenon::cuda
