// Cache writes and attention on the device, against the CPU's fp32 references over the same tables.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_attention_support.h"

namespace tenon::cuda {
namespace {

std::vector<float> frequencies(std::int64_t pairs) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < pairs; ++i)
    out.push_back(std::pow(10000.F, -static_cast<float>(i) / static_cast<float>(pairs)));
  return out;
}

TEST(CudaAttention, EveryCacheType) {
  TENON_NEEDS_GPU();
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16,
                              DataType::kFloat8E4M3, DataType::kInt8})
    for (const std::int64_t head_dim : {6, 64, 128})
      for (const std::int64_t heads : {2, 8}) {
        CacheCase c{.dtype = type, .head_dim = head_dim};
        BothCaches both(c);
        write_plainly(both, c);
        const Attention op{.heads = heads, .kv_heads = 2, .head_dim = head_dim, .scale = 0.2F};
        both.expect_attention_agrees(op, cache_tolerance(type),
                                     std::string(to_string(type)) + " " + describe(Op(op)));
      }
}

TEST(CudaAttention, EveryAttribute) {
  TENON_NEEDS_GPU();
  CacheCase c;
  BothCaches both(c);
  write_plainly(both, c);
  const Attention plain{.heads = 6, .kv_heads = 2, .head_dim = 64, .scale = 0.2F};
  std::vector<Attention> ops(8, plain);
  ops[0].window = 20;
  ops[1].window = 1;
  ops[2].softcap = 3.F;
  ops[3].alibi = true;
  ops[3].head_begin = 2;
  ops[3].total_heads = 12;
  ops[4].relative_bias = true;
  ops[4].relative_max_distance = 40;
  ops[5].mask = AttentionMask::kBidirectional;
  ops[6].mask = AttentionMask::kBidirectional;
  ops[6].relative_bias = true;
  ops[6].window = 30;
  ops[7].window = 9;
  ops[7].softcap = 5.F;
  for (const Attention& op : ops) both.expect_attention_agrees(op, 2e-5F, describe(Op(op)));
}

TEST(CudaAttention, RopeCacheWrite) {
  TENON_NEEDS_GPU();
  for (const DataType type :
       {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat8E4M3, DataType::kInt8})
    for (const RopeStyle style : {RopeStyle::kNeox, RopeStyle::kGptj}) {
      CacheCase c{.dtype = type};
      BothCaches both(c);
      RopeCacheWrite op;
      op.rope = {.heads = 4, .head_dim = 64, .rotary_dim = 32, .style = style};
      op.rope.inv_freq = frequencies(16);
      op.write = {.kv_heads = 2, .head_dim = 64};
      const std::int64_t tokens = both.all().tokens();
      both.write(op, {random_tensor({tokens, 256}, 10), random_tensor({tokens, 128}, 11),
                      random_tensor({tokens, 128}, 12), int_tensor(both.all().positions)});
      both.expect_attention_agrees(
          {.heads = 4, .kv_heads = 2, .head_dim = 64, .scale = 0.2F},
          std::max(cache_tolerance(type), type == DataType::kBFloat16 ? 2e-3F : 0.F),
          describe(Op(op)));
    }
}

TEST(CudaAttention, DirectAndCross) {
  TENON_NEEDS_GPU();
  for (const AttentionSource source : {AttentionSource::kDirect, AttentionSource::kCross})
    for (const AttentionMask mask : {AttentionMask::kCausal, AttentionMask::kBidirectional}) {
      if (source == AttentionSource::kCross && mask == AttentionMask::kCausal) continue;
      const Attention op{
          .source = source, .mask = mask, .heads = 4, .kv_heads = 2, .head_dim = 32, .scale = 0.3F};
      OpCase c;
      c.batch = make_batch({0, 3, 0}, {150, 1, 20});
      c.batch.encoder_begin = {0, 9, 9, 300};
      const std::int64_t keys = source == AttentionSource::kCross ? 300 : c.batch.tokens();
      c.inputs = {random_tensor({c.batch.tokens(), 128}, 1), random_tensor({keys, 64}, 2),
                  random_tensor({keys, 64}, 3)};
      expect_device_agrees(op, c, 2e-5F, describe(Op(op)));
    }
}

}  // namespace
}  // namespace tenon::cuda
