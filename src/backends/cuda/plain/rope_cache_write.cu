// Rope, CacheWrite and RopeCacheWrite, plain. A block a token: the angles once, then every head;
// the cache part is a warp a head.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/rotate_head.cuh"
#include "backends/cuda/plain/plain_kernels.h"
#include "backends/cuda/rope.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 128;

struct Rotation {
  RopeFrequencies rope;
  const std::int32_t* positions = nullptr;
  std::int32_t head_dim = 0;
  std::int32_t heads = 0;
  const void* x = nullptr;
  void* out = nullptr;
  DataType x_type, out_type;
};

struct Write {
  CacheLayer layer;
  RopeFrequencies rope;  // inv_freq null: keys are written as they are
  const std::int32_t* positions = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  DataType k_type, v_type;
};

__global__ void __launch_bounds__(kThreads) rope_kernel(Rotation r, StepView view) {
  extern __shared__ Angle angles[];
  const std::int64_t token = blockIdx.x;
  fill_angles(r.rope, r.positions[token], length_of(view, view.token_sequence[token]), angles);
  const std::int32_t width = r.heads * r.head_dim;
  for (std::int32_t i = threadIdx.x; i < width; i += kThreads) {
    const std::int64_t head = token * width + i / r.head_dim * r.head_dim;
    store(r.out, r.out_type, token * width + i,
          rotated(r.x, r.x_type, head, i % r.head_dim, r.rope, angles));
  }
}

__global__ void __launch_bounds__(kThreads) cache_write_kernel(Write w, StepView view) {
  extern __shared__ Angle angles[];
  const std::int32_t token = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t sequence = view.token_sequence[token];
  if (sequence < 0) return;  // padding: the whole block
  const bool rotates = w.rope.inv_freq != nullptr;
  if (rotates) fill_angles(w.rope, w.positions[token], length_of(view, sequence), angles);
  const CacheLayer& layer = w.layer;
  const std::int64_t place = view.cached_tokens[sequence] + token - view.token_begin[sequence];
  for (std::int32_t head = threadIdx.x / 32; head < layer.kv_heads; head += kThreads / 32) {
    const std::int64_t row = layer.row_of(view.slots[sequence], place, head);
    const std::int64_t from =
        (static_cast<std::int64_t>(token) * layer.kv_heads + head) * layer.head_dim;
    write_head(layer, layer.keys, layer.key_scales, row, [&](std::int32_t d) {
      return rotates ? rotated(w.k, w.k_type, from, d, w.rope, angles)
                     : load(w.k, w.k_type, from + d);
    });
    write_head(layer, layer.values, layer.value_scales, row,
               [&](std::int32_t d) { return load(w.v, w.v_type, from + d); });
  }
}

std::size_t angle_bytes(const RopeFrequencies& rope) {
  return static_cast<std::size_t>(rope.rotary_dim / 2) * sizeof(Angle);
}

void rotate(const RopeFrequencies& rope, std::int64_t heads, std::int64_t head_dim,
            const TensorRef& x, const TensorRef& positions, const TensorRef& out,
            const StepContext& step) {
  if (x.rows == 0) return;
  Rotation r;
  r.rope = rope;
  r.positions = positions.as<const std::int32_t>();
  r.head_dim = static_cast<std::int32_t>(head_dim);
  r.heads = static_cast<std::int32_t>(heads);
  r.x = x.data;
  r.out = out.data;
  r.x_type = x.dtype;
  r.out_type = out.dtype;
  rope_kernel<<<static_cast<unsigned>(x.rows), kThreads, angle_bytes(rope), step.stream>>>(
      r, step.view);
  check_launch("rope_plain");
}

void write(const CacheWrite& op, const RopeFrequencies& rope, const std::int32_t* positions,
           const TensorRef& k, const TensorRef& v, const StepContext& step) {
  if (k.rows == 0) return;
  Write w;
  w.layer = step.cache->layer(op.cache_layer);
  w.rope = rope;
  w.positions = positions;
  w.k = k.data;
  w.v = v.data;
  w.k_type = k.dtype;
  w.v_type = v.dtype;
  cache_write_kernel<<<static_cast<unsigned>(k.rows), kThreads, angle_bytes(rope), step.stream>>>(
      w, step.view);
  check_launch("cache_write_plain");
}

class RopePlain final : public CudaKernel {
 public:
  RopePlain(const Rope& op, LoadContext& load) : op_(op), rope_(upload_rope(op, load)) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    rotate(rope_, op_.heads, op_.head_dim, inputs[0], inputs[1], outputs[0], step);
  }

 private:
  Rope op_;
  RopeFrequencies rope_;
};

class CacheWritePlain final : public CudaKernel {
 public:
  explicit CacheWritePlain(const CacheWrite& op) : op_(op) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef>,
              const StepContext& step) const override {
    write(op_, {}, nullptr, inputs[0], inputs[1], step);
  }

 private:
  CacheWrite op_;
};

class RopeCacheWritePlain final : public CudaKernel {
 public:
  RopeCacheWritePlain(const RopeCacheWrite& op, LoadContext& load)
      : op_(op), rope_(upload_rope(op.rope, load)) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    rotate(rope_, op_.rope.heads, op_.rope.head_dim, inputs[0], inputs[3], outputs[0], step);
    write(op_.write, rope_, inputs[3].as<const std::int32_t>(), inputs[1], inputs[2], step);
  }

 private:
  RopeCacheWrite op_;
  RopeFrequencies rope_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Rope& op, const NodeView&, Weights,
                                       LoadContext& load) {
  return std::make_unique<RopePlain>(op, load);
}

std::unique_ptr<CudaKernel> make_plain(const CacheWrite& op, const NodeView&, Weights,
                                       LoadContext&) {
  return std::make_unique<CacheWritePlain>(op);
}

std::unique_ptr<CudaKernel> make_plain(const RopeCacheWrite& op, const NodeView&, Weights,
                                       LoadContext& load) {
  return std::make_unique<RopeCacheWritePlain>(op, load);
}

}  // namespace tenon::cuda
