// Keys and values in the caches of both sides, and attention over them against the CPU's reference.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_support.h"

namespace tenon::cuda {

struct CacheCase {
  DataType dtype = DataType::kFloat32;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 64;
  std::int64_t block_tokens = 16;
  std::vector<std::int32_t> cached = {0, 5, 130, 33};
  std::vector<std::int32_t> fresh = {7, 1, 1, 40};
};

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

  /// Every byte of the device's cache, before write(): what lies in blocks beside their tokens.
  void fill_device_cache(int byte) {
    check(cudaMemset(step_->context().cache->layer(0).keys, byte, cache_bytes()), "test");
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
    std::vector<std::byte> written;
    for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
      if (!entry.reject(op, view, test_features()).empty()) continue;
      const auto got = run_on_device(entry, op, view, c, DataType::kFloat32, {}, *step_);
      for (std::size_t i = 0; i < got.size(); ++i)
        expect_close(got[i], expected_[i], 2e-5F, entry.name);
      // What one leaves in the cache the next one must leave too: attention reads the last one's.
      std::vector<std::byte> bytes = device_cache();
      EXPECT_TRUE(written.empty() || bytes == written) << entry.name << ": another cache";
      written = std::move(bytes);
    }
  }

  /// The step with the case's cached tokens, over the cache that write() filled.
  void expect_attention_agrees(const Attention& op, float tolerance, const std::string& what,
                               const std::vector<DataType>& storages = {
                                   DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    const Batch batch = make_batch(case_.cached, case_.fresh);
    for (const DataType storage : storages) {
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

  /// What one kernel makes of another step over the cache that write() filled: `batch.slots` are
  /// indices of the case's sequences.
  Tensor attend(const KernelEntry<Attention>& entry, const Attention& op, const Batch& batch,
                const Tensor& q, DataType storage, int launches = 1) {
    OpCase c;
    c.batch = batch;
    c.cache = cache_->get();
    c.reads_cache = true;
    c.inputs = {q};
    DeviceStep step(batch, cache_.get());
    step.context().cache = step_->context().cache;
    const NodeView view = device_view(op, c, storage, {});
    EXPECT_EQ(entry.reject(op, view, test_features()), "") << entry.name;
    return run_on_device(entry, op, view, c, storage, {}, step, launches)[0];
  }

  /// What the CPU's reference makes of it: `batch` has the case's sequences.
  Tensor reference(const Attention& op, const Batch& batch, const Tensor& q) const {
    OpCase c;
    c.batch = batch;
    c.cache = cache_->get();
    c.reads_cache = true;
    c.inputs = {q};
    return cpu::run_reference(op, c)[0];
  }

  const Batch& all() const { return all_; }

 private:
  std::size_t cache_bytes() const {
    const auto groups = cache_->get()->groups();
    const std::vector<CacheGroupDescription> all(groups.begin(), groups.end());
    return static_cast<std::size_t>(PagedCache::bytes(all));
  }
  std::vector<std::byte> device_cache() {
    std::vector<std::byte> out(cache_bytes());
    check(cudaMemcpy(out.data(), step_->context().cache->layer(0).keys, out.size(),
                     cudaMemcpyDeviceToHost),
          "test");
    return out;
  }

  CacheCase case_;
  Batch all_;
  std::unique_ptr<TestCache> cache_;
  std::unique_ptr<DeviceStep> step_;
  std::vector<Tensor> expected_;
};

inline void write_plainly(BothCaches& both, const CacheCase& c, float size_of_values = 1.F) {
  const std::int64_t tokens = both.all().tokens();
  const Shape shape = {tokens, c.kv_heads * c.head_dim};
  both.write(CacheWrite{.kv_heads = c.kv_heads, .head_dim = c.head_dim},
             {random_tensor(shape, 11), random_tensor(shape, 12, size_of_values)});
}

// int8 codes may differ by one where the two sides' scales round apart.
inline float cache_tolerance(DataType type) { return type == DataType::kInt8 ? 2e-3F : 2e-5F; }

}  // namespace tenon::cuda
