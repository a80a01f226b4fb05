// Cache writes and attention on the device, against the CPU's fp32 references over the same tables.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

struct CacheCase {
  DataType dtype = DataType::kFloat32;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 64;
  std::int64_t block_tokens = 16;
  std::vector<std::int32_t> cached = {0, 5, 130, 33};
  std::vector<std::int32_t> fresh = {7, 1, 1, 40};
};

std::vector<float> frequencies(std::int64_t pairs) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < pairs; ++i)
    out.push_back(std::pow(10000.F, -static_cast<float>(i) / static_cast<float>(pairs)));
  return out;
}

// Keys and values of all places by the write kernels of both sides: first what is cached, as
// context of its own, then the step's.
class BothCaches {
 public:
  explicit BothCaches(const CacheCase& c) : case_(c) {
    std::vector<std::int32_t> lengths;
    for (std::size_t s = 0; s < c.cached.size(); ++s) lengths.push_back(c.cached[s] + c.fresh[s]);
    cache_ = std::make_unique<TestCache>(c.dtype, c.kv_heads, c.head_dim, c.block_tokens, lengths);
    const std::vector<std::int32_t> zeros(lengths.size(), 0);
    all_ = make_batch(zeros, lengths);
    step_ = std::make_unique<DeviceStep>(all_, cache_.get());
  }

  /// Runs `op` with tokens of the whole sequences on both; gives the outputs (rotated queries).
  template <class OpT>
  void write(const OpT& op, std::vector<Tensor> inputs) {
    OpCase c;
    c.inputs = std::move(inputs);
    c.batch = all_;
    c.cache = cache_->get();
    expected_ = cpu::run_reference(op, c);
    const NodeView view = device_view(op, c, DataType::kFloat32, {});
    for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
      if (!entry.reject(op, view, test_features()).empty()) continue;
      const auto got = run_on_device(entry, op, view, c, DataType::kFloat32, {}, *step_);
      for (std::size_t i = 0; i < got.size(); ++i)
        expect_close(got[i], expected_[i], 2e-5F, entry.name);
    }
  }

  /// The step with the case's cached tokens, over the cache that write() filled.
  void expect_attention_agrees(const Attention& op, float tolerance, const std::string& what) {
    const Batch batch = make_batch(case_.cached, case_.fresh);
    for (const DataType storage : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
      OpCase c;
      c.batch = batch;
      c.cache = cache_->get();
      c.reads_cache = true;
      c.inputs = {rounded_to(random_tensor({batch.tokens(), op.heads * op.head_dim}, 21), storage)};
      if (op.relative_bias) c.weights = {random_tensor({op.relative_buckets, op.heads}, 22)};
      const std::vector<Tensor> expected = cpu::run_reference(op, c);
      const std::vector<QuantizedTensor> weights = plain_weights(c);
      const NodeView view = device_view(op, c, storage, weights);
      DeviceStep step(batch, cache_.get());
      // The device's cache of the writing step, with this step's rows.
      step.context().cache = step_->context().cache;
      for (const KernelEntry<Attention>& entry : device_kernels<Attention>()) {
        if (!entry.reject(op, view, test_features()).empty()) continue;
        const auto got = run_on_device(entry, op, view, c, storage, weights, step);
        expect_close(got[0], expected[0], tolerance + rounding_of(storage),
                     std::string(entry.name) + " " + to_string(storage) + " " + what);
      }
    }
  }

  const Batch& all() const { return all_; }

 private:
  CacheCase case_;
  Batch all_;
  std::unique_ptr<TestCache> cache_;
  std::unique_ptr<DeviceStep> step_;
  std::vector<Tensor> expected_;
};

void write_plainly(BothCaches& both, const CacheCase& c) {
  const std::int64_t tokens = both.all().tokens();
  const Shape shape = {tokens, c.kv_heads * c.head_dim};
  both.write(CacheWrite{.kv_heads = c.kv_heads, .head_dim = c.head_dim},
             {random_tensor(shape, 11), random_tensor(shape, 12)});
}

// int8 codes may differ by one where the two sides' scales round apart.
float cache_tolerance(DataType type) { return type == DataType::kInt8 ? 2e-3F : 2e-5F; }

TEST(CudaAttention, EveryCacheType) {
  TENON_NEEDS_GPU();
  for (const DataType type :
       {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16, DataType::kInt8})
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
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kInt8})
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
