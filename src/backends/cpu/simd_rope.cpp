// Rope, CacheWrite and both in one over vectors. Tokens are spread over threads; a token's rotated
// keys stay in a thread's own small buffer until they are rounded and written to their block.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/paged_cache.h"
#include "backends/cpu/rope_tables.h"
#include "backends/cpu/simd_kernels.h"
#include "core/check.h"
#include "core/half.h"

namespace tenon::cpu {
namespace {

std::int64_t whole_lines(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Of one thread: rotated keys, and one head rounded to the cache's type.
std::int64_t buffer_bytes(const CacheWrite& op) {
  return whole_lines((op.kv_heads + 1) * op.head_dim * static_cast<std::int64_t>(sizeof(float)));
}

// One token's heads, `head_dim` apart, into the cache.
class TokenWriter {
 public:
  TokenWriter(const IsaKernels& isa, const CacheLayer& layer) : isa_(isa), layer_(layer) {}

  void write(std::int32_t block, std::int64_t offset, const float* keys, const float* values,
             void* rounded) const {
    for (std::int64_t head = 0; head < layer_.kv_heads; ++head) {
      const std::int64_t row = block * layer_.kv_heads + head;
      const float* key = keys + head * layer_.head_dim;
      const float* value = values + head * layer_.head_dim;
      switch (layer_.dtype) {
        case DataType::kFloat32: write_as<float>(row, offset, key, value, rounded); break;
        case DataType::kInt8: write_int8(row, offset, key, value, rounded); break;
        case DataType::kFloat8E4M3: write_as<std::uint8_t>(row, offset, key, value, rounded); break;
        default: write_as<std::uint16_t>(row, offset, key, value, rounded); break;
      }
    }
  }

 private:
  template <class T>
  T* key_at(std::int64_t row, std::int64_t offset) const {
    return reinterpret_cast<T*>(layer_.keys) + row * layer_.head_dim * layer_.key_stride + offset;
  }
  template <class T>
  T* value_at(std::int64_t row, std::int64_t offset) const {
    return reinterpret_cast<T*>(layer_.values) +
           (row * layer_.block_tokens + offset) * layer_.head_dim;
  }
  template <class T>
  void spread(T* to, const void* rounded) const {
    const T* from = static_cast<const T*>(rounded);
    for (std::int64_t d = 0; d < layer_.head_dim; ++d) to[d * layer_.key_stride] = from[d];
  }

  void round(const float* from, void* to) const {
    if (layer_.dtype == DataType::kFloat8E4M3)
      convert_from_float(layer_.dtype, from, to, static_cast<std::size_t>(layer_.head_dim));
    else
      isa_.convert(layer_.dtype, from, to, layer_.head_dim);
  }
  template <class T>
  void write_as(std::int64_t row, std::int64_t offset, const float* key, const float* value,
                void* rounded) const {
    round(key, rounded);
    spread(key_at<T>(row, offset), rounded);
    round(value, value_at<T>(row, offset));
  }

  void write_int8(std::int64_t row, std::int64_t offset, const float* key, const float* value,
                  void* rounded) const {
    const std::int64_t scale = row * layer_.key_stride + offset;
    layer_.key_scales[scale] =
        isa_.quantize(key, static_cast<std::int8_t*>(rounded), layer_.head_dim);
    spread(key_at<std::int8_t>(row, offset), rounded);
    layer_.value_scales[scale] =
        isa_.quantize(value, value_at<std::int8_t>(row, offset), layer_.head_dim);
  }

  const IsaKernels& isa_;
  const CacheLayer& layer_;
};

// Sequence of a token.
std::size_t sequence_of(const Batch& batch, std::int64_t token) {
  const auto next = std::upper_bound(batch.token_begin.begin(), batch.token_begin.end(), token);
  return static_cast<std::size_t>(next - batch.token_begin.begin()) - 1;
}

struct Place {
  std::int32_t block = 0;
  std::int64_t offset = 0;
};

Place place_of(const StepContext& step, const CacheLayer& layer, std::size_t sequence,
               std::int64_t token) {
  const std::int64_t at =
      step.batch.cached_tokens[sequence] + token - step.batch.token_begin[sequence];
  const auto table = step.cache->table(layer.group, static_cast<std::int64_t>(sequence));
  return {table[static_cast<std::size_t>(at / layer.block_tokens)], at % layer.block_tokens};
}

RopeToken rope_token(const Rope& op, std::int64_t heads) {
  return {.heads = heads,
          .head_dim = op.head_dim,
          .rotary_dim = op.rotary_dim,
          .neox = op.style == RopeStyle::kNeox};
}

class RopeSimd final : public CpuKernel {
 public:
  RopeSimd(const IsaKernels& isa, const Rope& op) : isa_(isa), op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    TENON_ASSERT(step.rope != nullptr);
    const float* table = step.rope->find(op_, inputs[1].i32(), step.batch, step.pool);
    const std::int64_t width = inputs[0].width;
    step.pool.run_ranges(inputs[0].rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      RopeToken token = rope_token(op_, op_.heads);
      for (std::int64_t t = begin; t < end; ++t) {
        token.x = inputs[0].f32() + t * width;
        token.out = outputs[0].f32() + t * width;
        token.angles = table + t * op_.rotary_dim;
        isa_.rope(token);
      }
    });
  }

 private:
  const IsaKernels& isa_;
  Rope op_;
};

class CacheWriteSimd final : public CpuKernel {
 public:
  CacheWriteSimd(const IsaKernels& isa, const CacheWrite& op) : isa_(isa), op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef>,
           StepContext& step) const override {
    TENON_ASSERT(step.cache != nullptr);
    const CacheLayer& layer = step.cache->layer(op_.cache_layer);
    const TokenWriter writer(isa_, layer);
    step.pool.run_ranges(inputs[0].rows, 8, [&](std::int64_t begin, std::int64_t end, int worker) {
      std::byte* rounded = step.workspace.data() + worker * buffer_bytes(op_);
      for (std::int64_t t = begin; t < end; ++t) {
        const Place place = place_of(step, layer, sequence_of(step.batch, t), t);
        writer.write(place.block, place.offset, inputs[0].f32() + t * inputs[0].width,
                     inputs[1].f32() + t * inputs[1].width, rounded);
      }
    });
  }

  std::int64_t workspace_bytes(const StepSizes&, int threads) const override {
    return threads * buffer_bytes(op_);
  }

 private:
  const IsaKernels& isa_;
  CacheWrite op_;
};

class RopeCacheWriteSimd final : public CpuKernel {
 public:
  RopeCacheWriteSimd(const IsaKernels& isa, const RopeCacheWrite& op) : isa_(isa), op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    TENON_ASSERT(step.cache != nullptr && step.rope != nullptr);
    const TensorRef& q = inputs[0];
    const TensorRef& k = inputs[1];
    const TensorRef& v = inputs[2];
    const CacheLayer& layer = step.cache->layer(op_.write.cache_layer);
    const TokenWriter writer(isa_, layer);
    const float* table = step.rope->find(op_.rope, inputs[3].i32(), step.batch, step.pool);
    step.pool.run_ranges(q.rows, 8, [&](std::int64_t begin, std::int64_t end, int worker) {
      auto* keys =
          reinterpret_cast<float*>(step.workspace.data() + worker * buffer_bytes(op_.write));
      float* rounded = keys + op_.write.kv_heads * op_.write.head_dim;
      RopeToken query = rope_token(op_.rope, op_.rope.heads);
      RopeToken key = rope_token(op_.rope, op_.write.kv_heads);
      key.out = keys;
      for (std::int64_t t = begin; t < end; ++t) {
        query.angles = key.angles = table + t * op_.rope.rotary_dim;
        query.x = q.f32() + t * q.width;
        query.out = outputs[0].f32() + t * q.width;
        key.x = k.f32() + t * k.width;
        isa_.rope(query);
        isa_.rope(key);
        const Place place = place_of(step, layer, sequence_of(step.batch, t), t);
        writer.write(place.block, place.offset, keys, v.f32() + t * v.width, rounded);
      }
    });
  }

  std::int64_t workspace_bytes(const StepSizes&, int threads) const override {
    return threads * buffer_bytes(op_.write);
  }

 private:
  const IsaKernels& isa_;
  RopeCacheWrite op_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const Rope& op, Weights) {
  return std::make_unique<RopeSimd>(isa, op);
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const CacheWrite& op, Weights) {
  return std::make_unique<CacheWriteSimd>(isa, op);
}

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const RopeCacheWrite& op, Weights) {
  return std::make_unique<RopeCacheWriteSimd>(isa, op);
}

std::int64_t cache_write_workspace(const CacheWrite& op, const NodeView&, const StepSizes&,
                                   int threads) {
  return threads * buffer_bytes(op);
}

std::int64_t rope_cache_write_workspace(const RopeCacheWrite& op, const NodeView&, const StepSizes&,
                                        int threads) {
  return threads * buffer_bytes(op.write);
}

}  // namespace tenon::cpu
