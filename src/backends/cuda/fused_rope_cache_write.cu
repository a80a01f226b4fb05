// RopeCacheWrite in one launch: a block has one token and some of its heads (queries, then keys,
// then values), a warp a head.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/rotate_head.cuh"
#include "backends/cuda/fused_kernels.h"
#include "backends/cuda/rope.h"

namespace tenon::cuda {
namespace {

constexpr int kWarps = 4;

struct RopeWriteArguments {
  RopeFrequencies rope;
  CacheLayer layer;
  StepView view;
  const std::int32_t* positions = nullptr;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;
  DataType q_type, k_type, v_type, out_type;
  std::int32_t heads = 0;
  std::int32_t head_dim = 0;
};

__global__ void __launch_bounds__(kWarps * 32) rope_write_kernel(RopeWriteArguments r) {
  extern __shared__ Angle angles[];
  let_next_start();
  wait_for_inputs();
  const auto token = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t sequence = r.view.token_sequence[token];
  fill_angles(r.rope, r.positions[token], length_of(r.view, sequence), angles);
  std::int32_t head = static_cast<std::int32_t>(blockIdx.y * kWarps + threadIdx.x / 32);
  if (head < r.heads) {
    const std::int64_t first = (static_cast<std::int64_t>(token) * r.heads + head) * r.head_dim;
    for (std::int32_t d = threadIdx.x % 32; d < r.head_dim; d += 32)
      store(r.out, r.out_type, first + d, rotated(r.q, r.q_type, first, d, r.rope, angles));
    return;
  }
  head -= r.heads;
  const CacheLayer& layer = r.layer;
  if (sequence < 0 || head >= 2 * layer.kv_heads) return;  // padding; no such head
  const bool is_key = head < layer.kv_heads;
  if (!is_key) head -= layer.kv_heads;
  const std::int64_t place = r.view.cached_tokens[sequence] + token - r.view.token_begin[sequence];
  const std::int64_t row = layer.row_of(r.view.slots[sequence], place, head);
  const std::int64_t from =
      (static_cast<std::int64_t>(token) * layer.kv_heads + head) * layer.head_dim;
  if (is_key)
    write_head(layer, layer.keys, layer.key_scales, row,
               [&](std::int32_t d) { return rotated(r.k, r.k_type, from, d, r.rope, angles); });
  else
    write_head(layer, layer.values, layer.value_scales, row,
               [&](std::int32_t d) { return load(r.v, r.v_type, from + d); });
}

class RopeWriteFused final : public CudaKernel {
 public:
  RopeWriteFused(const RopeCacheWrite& op, LoadContext& load)
      : op_(op), rope_(upload_rope(op.rope, load)) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const TensorRef& q = inputs[0];
    if (q.rows == 0) return;
    RopeWriteArguments r;
    r.rope = rope_;
    r.layer = step.cache->layer(op_.write.cache_layer);
    r.view = step.view;
    r.positions = inputs[3].as<const std::int32_t>();
    r.q = q.data;
    r.k = inputs[1].data;
    r.v = inputs[2].data;
    r.out = outputs[0].data;
    r.q_type = q.dtype;
    r.k_type = inputs[1].dtype;
    r.v_type = inputs[2].dtype;
    r.out_type = outputs[0].dtype;
    r.heads = static_cast<std::int32_t>(op_.rope.heads);
    r.head_dim = static_cast<std::int32_t>(op_.rope.head_dim);
    const std::int64_t heads = op_.rope.heads + 2 * op_.write.kv_heads;
    launch_early(
        rope_write_kernel, "rope_cache_write",
        dim3(static_cast<unsigned>(q.rows), static_cast<unsigned>((heads + kWarps - 1) / kWarps)),
        kWarps * 32, static_cast<std::size_t>(rope_.rotary_dim / 2) * sizeof(Angle),
        step.features->capability >= 90, step.stream, r);
  }

 private:
  RopeCacheWrite op_;
  RopeFrequencies rope_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_fused(const RopeCacheWrite& op, const NodeView&, Weights,
                                       LoadContext& load) {
  return std::make_unique<RopeWriteFused>(op, load);
}

}  // namespace tenon::cuda
