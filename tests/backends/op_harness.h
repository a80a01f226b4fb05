// One harness for all CPU kernels but Linear's: every kernel of an op's list that this processor
// can run, on the same inputs as the reference that ends the list.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "backends/cpu/cpu_kernel.h"
#include "backends/cpu/paged_cache.h"
#include "backends/cpu/rope_tables.h"
#include "core/check.h"

namespace tenon::cpu {

/// Normally distributed numbers that depend on the seed alone.
inline Tensor random_tensor(Shape shape, unsigned seed, float deviation = 1.F) {
  Tensor out(DataType::kFloat32, std::move(shape));
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.F, deviation);
  for (std::int64_t i = 0; i < out.view().elements(); ++i)
    out.mutable_as<float>()[i] = normal(generator);
  return out;
}

inline Tensor int_tensor(const std::vector<std::int32_t>& values) {
  Tensor out(DataType::kInt32, {static_cast<std::int64_t>(values.size())});
  if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), out.bytes());
  return out;
}

/// A batch of sequences with `new_tokens[s]` tokens after `cached[s]`.
inline Batch make_batch(const std::vector<std::int32_t>& cached,
                        const std::vector<std::int32_t>& new_tokens) {
  Batch batch;
  batch.token_begin = {0};
  for (std::size_t s = 0; s < cached.size(); ++s) {
    batch.slots.push_back(static_cast<std::int32_t>(s));
    batch.token_begin.push_back(batch.token_begin.back() + new_tokens[s]);
    batch.cached_tokens.push_back(cached[s]);
    batch.sequence_length.push_back(cached[s] + new_tokens[s]);
    batch.sample_row.push_back(-1);
    for (std::int32_t i = 0; i < new_tokens[s]; ++i) {
      batch.token_ids.push_back(1);
      batch.positions.push_back(cached[s] + i);
    }
  }
  return batch;
}

struct OpCase {
  std::vector<Tensor> inputs;  ///< tensors alone; the cache follows where `cache` is set
  std::vector<Tensor> weights;
  Batch batch = make_batch({0}, {0});
  PagedCache* cache = nullptr;
  bool reads_cache = false;  ///< the op's last input is the cache
  int threads = 2;
};

inline std::vector<TensorRef> refs_of(const std::vector<Tensor>& tensors) {
  std::vector<TensorRef> out;
  for (const Tensor& t : tensors) {
    TensorRef ref{const_cast<std::byte*>(t.data()), t.dtype(), 1, t.shape().back()};
    for (std::size_t d = 0; d + 1 < t.shape().size(); ++d) ref.rows *= t.shape()[d];
    out.push_back(ref);
  }
  return out;
}

inline NodeView view_of_case(const Op& op, const OpCase& c) {
  NodeView view;
  const auto type = [](const Tensor& t) {
    std::vector<Dim> dims;
    for (const std::int64_t extent : t.shape()) dims.emplace_back(extent);
    return ValueType::tensor(t.dtype(), dims);
  };
  for (const Tensor& t : c.inputs) view.inputs.push_back(type(t));
  if (c.reads_cache) view.inputs.push_back(ValueType::cache());
  std::vector<Shape> shapes;
  for (const Tensor& w : c.weights) {
    view.weights.push_back({"w", w.shape(), QuantSpec{}});
    shapes.push_back(w.shape());
  }
  view.outputs = infer_output_types(op, view.inputs, shapes);
  return view;
}

/// Runs one kernel; outputs start as NaN, and so does the workspace.
template <class OpT>
std::vector<Tensor> run_kernel(const KernelEntry<OpT>& entry, const OpT& op, const OpCase& c) {
  ThreadPool pool({.threads = c.threads, .pin = false});
  const NodeView view = view_of_case(op, c);
  std::vector<QuantizedTensor> weights;
  for (const Tensor& w : c.weights) weights.push_back(QuantizedTensor::from(w));
  const auto kernel = entry.make(op, view, std::move(weights), pool);
  const StepSizes limits{
      .tokens = c.batch.tokens(),
      .sequences = c.batch.sequences(),
      .encoder_tokens = c.batch.encoder_begin.empty() ? 0 : c.batch.encoder_begin.back()};
  const std::int64_t bytes = kernel->workspace_bytes(limits, pool.size());
  if (entry.planned_workspace != nullptr)
    EXPECT_EQ(entry.planned_workspace(op, view, limits, pool.size()), bytes) << entry.name;
  else
    EXPECT_EQ(bytes, 0) << entry.name;
  const std::int64_t packed = entry.planned_bytes ? entry.planned_bytes(op, view) : 0;
  EXPECT_EQ(packed, kernel->packed_bytes()) << entry.name;
  const auto workspace = allocate_aligned(static_cast<std::size_t>(bytes) + 64);
  std::memset(workspace.get(), 0xFF, static_cast<std::size_t>(bytes));

  std::vector<Tensor> outputs;
  for (const ValueType& type : view.outputs) {
    if (type.kind == ValueKind::kCache) continue;
    Shape shape;
    for (const Dim& dim : type.shape) shape.push_back(dim.extent);
    outputs.emplace_back(type.dtype, shape);
    if (outputs.back().bytes() > 0)
      std::memset(outputs.back().mutable_data(), 0xFF, outputs.back().bytes());
  }
  RopeTables rope;
  StepContext step{.pool = pool,
                   .batch = c.batch,
                   .cache = c.cache,
                   .workspace = {workspace.get(), static_cast<std::size_t>(bytes)},
                   .rope = &rope};
  kernel->run(refs_of(c.inputs), refs_of(outputs), step);
  return outputs;
}

template <class OpT>
std::span<const KernelEntry<OpT>> all_kernels() {
  return kernels(static_cast<const OpT*>(nullptr));
}

template <class OpT>
std::vector<Tensor> run_reference(const OpT& op, const OpCase& c) {
  return run_kernel(all_kernels<OpT>().back(), op, c);
}

/// |got - expected| <= tolerance * (1 + |expected|); NaN equals NaN alone.
inline void expect_close(const Tensor& got, const Tensor& expected, float tolerance,
                         const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  if (got.dtype() != DataType::kFloat32) {
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.bytes()), 0) << what;
    return;
  }
  for (std::int64_t i = 0; i < got.view().elements(); ++i) {
    const float a = got.view().as<float>()[i];
    const float b = expected.view().as<float>()[i];
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a == b) continue;
    ASSERT_LE(std::fabs(a - b), tolerance * (1.F + std::fabs(b)))
        << what << " element " << i << ": " << a << " for " << b;
  }
}

/// Calls body(entry) for each kernel of the list that accepts the node here, reference included.
template <class OpT, class Body>
void each_kernel(const OpT& op, const OpCase& c, Body body) {
  const NodeView view = view_of_case(op, c);
  for (const KernelEntry<OpT>& entry : all_kernels<OpT>())
    if (entry.reject(op, view, CpuFeatures::detect()).empty()) body(entry);
}

/// Every kernel against the reference.
template <class OpT>
void expect_kernels_agree(const OpT& op, const OpCase& c, float tolerance,
                          const std::string& what = {}) {
  const std::vector<Tensor> expected = run_reference(op, c);
  each_kernel(op, c, [&](const KernelEntry<OpT>& entry) {
    const std::vector<Tensor> got = run_kernel(entry, op, c);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      expect_close(got[i], expected[i], tolerance, std::string(entry.name) + " " + what);
  });
}

/// A cache of one group and `layers` layers with the tables of some sequences, blocks in random
/// order; what is not written holds NaN.
class TestCache {
 public:
  TestCache(DataType dtype, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t block_tokens,
            const std::vector<std::int32_t>& lengths, unsigned seed = 1, std::int64_t window = 0)
      : group_{.layers = {0},
               .kv_heads = kv_heads,
               .head_dim = head_dim,
               .window = window,
               .dtype = dtype,
               .tokens_per_block = block_tokens} {
    std::vector<std::int32_t> order;
    for (const std::int32_t length : lengths)
      group_.blocks += (length + block_tokens - 1) / block_tokens;
    group_.blocks += 3;
    for (std::int32_t b = 0; b < group_.blocks; ++b) order.push_back(b);
    std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    std::size_t next = 0;
    for (const std::int32_t length : lengths) {
      tables_.emplace_back();
      for (std::int64_t i = 0; i < (length + block_tokens - 1) / block_tokens; ++i)
        tables_.back().push_back(order[next++]);
    }
    cache_ = std::make_unique<PagedCache>(std::span(&group_, 1));
    const CacheLayer& layer = cache_->layer(0);
    const auto fill = [&](std::byte* at, std::int64_t bytes) {
      std::memset(at, 0xFF, static_cast<std::size_t>(bytes));
    };
    const std::int64_t size = static_cast<std::int64_t>(size_of(dtype));
    const std::int64_t rows = group_.blocks * kv_heads;
    fill(layer.keys, rows * head_dim * layer.key_stride * size);
    fill(layer.values, rows * block_tokens * head_dim * size);
    if (dtype == DataType::kInt8) {
      fill(reinterpret_cast<std::byte*>(layer.key_scales), rows * layer.key_stride * 4);
      fill(reinterpret_cast<std::byte*>(layer.value_scales), rows * layer.key_stride * 4);
    }
    bind_all();
  }

  PagedCache* get() { return cache_.get(); }
  std::vector<std::int32_t>& table(std::size_t sequence) { return tables_[sequence]; }

  /// Tables of the batch's sequences: by default all, in order.
  void bind(const std::vector<std::size_t>& sequences) {
    std::vector<std::span<const std::int32_t>> views;
    for (const std::size_t s : sequences) views.emplace_back(tables_[s]);
    cache_->bind({views});
  }
  void bind_all() {
    std::vector<std::size_t> all(tables_.size());
    for (std::size_t s = 0; s < all.size(); ++s) all[s] = s;
    bind(all);
  }

 private:
  CacheGroupDescription group_;
  std::vector<std::vector<std::int32_t>> tables_;
  std::unique_ptr<PagedCache> cache_;
};

}  // namespace tenon::cpu
