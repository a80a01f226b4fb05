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

// Heads in fours of features and others, rotated in part, of few tokens (a block for some heads of
// each) and of many (a block for all), with angles that depend on the sequence's length.
TEST(CudaAttention, RopeCacheWriteOfAnyShape) {
  TENON_NEEDS_GPU();
  struct Form {
    std::int64_t heads, head_dim, rotary;
    RopeStyle style = RopeStyle::kNeox;
    RopeLength length = RopeLength::kFixed;
    std::int32_t tokens = 9;
  };
  const auto gptj = RopeStyle::kGptj;
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16,
                              DataType::kFloat8E4M3, DataType::kInt8})
    for (const Form& form : {Form{8, 128, 128}, Form{8, 128, 128, gptj}, Form{6, 80, 80},
                             Form{6, 80, 20, gptj}, Form{4, 96, 64, gptj}, Form{5, 256, 64},
                             Form{1, 8, 8}, Form{3, 64, 64, gptj, RopeLength::kSwitch},
                             Form{3, 6, 4}, Form{12, 128, 128, gptj, RopeLength::kSwitch, 900}}) {
      if (form.tokens > 9 && type != DataType::kBFloat16 && type != DataType::kInt8) continue;
      CacheCase c{.dtype = type, .kv_heads = form.heads % 2 + 1, .head_dim = form.head_dim};
      c.cached = {0, 50, 3, 0, 20};
      c.fresh = {1, 1, form.tokens, 0, 1};
      BothCaches both(c);
      RopeCacheWrite op;
      op.rope = {.heads = form.heads,
                 .head_dim = form.head_dim,
                 .rotary_dim = form.rotary,
                 .style = form.style,
                 .length = form.length,
                 .original_length = 40,
                 .amplitude = 1.1F,
                 .long_amplitude = 1.3F};
      op.rope.inv_freq = frequencies(form.rotary / 2);
      if (form.length == RopeLength::kSwitch) op.rope.long_inv_freq = frequencies(form.rotary / 2);
      for (float& f : op.rope.long_inv_freq) f *= 0.25F;
      op.write = {.kv_heads = c.kv_heads, .head_dim = form.head_dim};
      const std::int64_t tokens = both.all().tokens();
      const auto rows = [&](std::int64_t heads, unsigned seed) {
        return random_tensor({tokens, heads * form.head_dim}, seed);
      };
      both.write(op, {rows(form.heads, 10), rows(c.kv_heads, 11), rows(c.kv_heads, 12),
                      int_tensor(both.all().positions)});
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
