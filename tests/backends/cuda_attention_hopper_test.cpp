// Context over a cache in 8 bits on Hopper: what goes by way of the widening warpgroup, against the
// CPU's fp32 reference over the same codes.
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

}  // namespace
}  // namespace tenon::cuda
