// RopeCacheWrite in one launch: a block has one token and some of its heads (queries, then keys,
// then values).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include "backends/cuda/device/four_elements.cuh"
#include "backends/cuda/device/launch_early.cuh"
#include "backends/cuda/device/rotate_head.cuh"
#include "backends/cuda/fused_kernels.h"
#include "backends/cuda/rope.h"

namespace tenon::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kFeatures = 8;  // of a head that a thread has, where they are taken in fours
constexpr std::int32_t kWidestHead = 32 * kFeatures;
constexpr int kBlocksAtOnce = 9;  // of one multiprocessor

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
  std::int32_t last_sequence = 0;  // of the launch
  std::int32_t lanes = 0;          // that share a head: a power of two
  std::int32_t block_heads = 0;    // of a block
};

// Any shape: a warp a head.
__global__ void __launch_bounds__(kThreads) rope_write_kernel(RopeWriteArguments r) {
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

// What a token's keys and values need to know, asked for all at once. In a step of decodes token s
// is sequence s's, so that its rows are fetched along with what says whose it is.
struct TokenPlace {
  std::int32_t sequence;
  std::int32_t position;
  std::int32_t length;  // 0 where the angles do not depend on it
  std::int32_t place;
  std::int32_t slot;
};

__device__ __forceinline__ TokenPlace place_of(const RopeWriteArguments& r, std::int32_t token) {
  const bool needs_length = r.rope.length != RopeLength::kFixed;
  const std::int32_t guess = min(token, r.last_sequence);
  TokenPlace t;
  t.sequence = r.view.token_sequence[token];
  t.position = r.positions[token];
  t.length = needs_length ? r.view.sequence_length[guess] : 0;
  t.slot = r.view.slots[guess];
  std::int32_t cached = r.view.cached_tokens[guess];
  std::int32_t begin = r.view.token_begin[guess];
  if (t.sequence != guess && t.sequence >= 0) {
    if (needs_length) t.length = r.view.sequence_length[t.sequence];
    t.slot = r.view.slots[t.sequence];
    cached = r.view.cached_tokens[t.sequence];
    begin = r.view.token_begin[t.sequence];
  }
  if (t.sequence < 0) t.length = 0;
  t.place = cached + token - begin;
  return t;
}

// The two fours of a head that a thread has.
struct Fours {
  float4 low;
  float4 high;
};

__device__ __forceinline__ std::uint32_t float8_codes(float4 x) {
  const auto code = [](float value) {
    return static_cast<std::uint32_t>(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3));
  };
  return code(x.x) | code(x.y) << 8 | code(x.z) << 16 | code(x.w) << 24;
}
// As write_head makes them.
__device__ __forceinline__ std::uint32_t int8_codes(float4 x, float inverse) {
  const auto code = [&](float value) {
    return static_cast<std::uint32_t>(__float2int_rn(value * inverse)) & 0xFFU;
  };
  return code(x.x) | code(x.y) << 8 | code(x.z) << 16 | code(x.w) << 24;
}

// Float32, as a model that runs in 16 bits holds what is not yet rotated; head sizes and rotated
// parts that are multiples of 8. A thread has two fours of features of each head that it comes to,
// four pairs where they are rotated. A token's angles are computed once a block.
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    rope_write_fours(const __grid_constant__ RopeWriteArguments r) {
  extern __shared__ __align__(16) Angle angles[];
  let_next_start();
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t half = r.rope.rotary_dim / 2;
  const float frequency = thread < half ? r.rope.inv_freq[thread] : 0.F;  // half <= kThreads
  const CacheLayer& layer = r.layer;
  const auto token = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t key_heads = r.heads + layer.kv_heads;
  const std::int32_t first = static_cast<std::int32_t>(blockIdx.y) * r.block_heads;
  const std::int32_t end = min(first + r.block_heads, key_heads + layer.kv_heads);
  const std::int32_t step = kThreads / r.lanes;
  const std::int32_t four = 4 * (thread % r.lanes);  // of pairs
  std::int32_t head = first + thread / r.lanes;
  const bool neox = r.rope.style == RopeStyle::kNeox;

  wait_for_inputs();
  const auto low_at = [&](std::int32_t h) {  // features of the fours
    return neox && four < half && h < key_heads ? four : 2 * four;
  };
  const auto high_at = [&](std::int32_t h) {
    return neox && four < half && h < key_heads ? four + half : 2 * four + 4;
  };
  const auto has_work = [&](std::int32_t h) { return h < end && 2 * four < r.head_dim; };
  const auto fetch = [&](std::int32_t h) {
    Fours x{};
    if (!has_work(h)) return x;
    const bool query = h < r.heads;
    const auto* const from = static_cast<const float*>(query ? r.q : h < key_heads ? r.k : r.v);
    const std::int32_t of_kind = query ? r.heads : layer.kv_heads;
    const std::int32_t within = query ? h : h < key_heads ? h - r.heads : h - key_heads;
    const std::int64_t at = (static_cast<std::int64_t>(token) * of_kind + within) * r.head_dim;
    x.low = *reinterpret_cast<const float4*>(from + at + low_at(h));
    x.high = *reinterpret_cast<const float4*>(from + at + high_at(h));
    return x;
  };
  Fours next = fetch(head);
  const TokenPlace t = place_of(r, token);
  std::int32_t block = 0;  // of the cache
  std::int32_t row = 0;    // there
  if (end > r.heads && t.sequence >= 0) {
    const std::int32_t of_table = t.place / layer.block_tokens;
    row = t.place - of_table * layer.block_tokens;
    block = layer.tables[static_cast<std::int64_t>(t.slot) * layer.table_stride + of_table];
  }
  if (thread < half) angles[thread] = rope_angle(r.rope, thread, frequency, t.position, t.length);
  __syncthreads();

  for (std::int32_t base = first; base < end; base += step, head += step) {
    float4 low = next.low;
    float4 high = next.high;
    next = fetch(head + step);
    if (four < half && head < key_heads) {
      const auto turn = [&](int pair, float& a, float& b) {
        const Angle angle = angles[four + pair];
        const float x = a;
        a = rotated(x, -b, angle);
        b = rotated(b, x, angle);
      };
      if (neox) {
        turn(0, low.x, high.x);
        turn(1, low.y, high.y);
        turn(2, low.z, high.z);
        turn(3, low.w, high.w);
      } else {
        turn(0, low.x, low.y);
        turn(1, low.z, low.w);
        turn(2, high.x, high.y);
        turn(3, high.z, high.w);
      }
    }
    const bool work = has_work(head);
    const bool coded = layer.dtype == DataType::kInt8;
    float largest = 0.F;
    if (coded && base + step > r.heads) {
      largest =
          fmaxf(fmaxf(fmaxf(fabsf(low.x), fabsf(low.y)), fmaxf(fabsf(low.z), fabsf(low.w))),
                fmaxf(fmaxf(fabsf(high.x), fabsf(high.y)), fmaxf(fabsf(high.z), fabsf(high.w))));
      for (int lane = r.lanes / 2; lane > 0; lane /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFU, largest, lane));
    }
    if (!work || (head >= r.heads && t.sequence < 0)) continue;  // no such head, or padding
    void* data = r.out;
    DataType type = r.out_type;
    std::int64_t to = static_cast<std::int64_t>(token) * r.heads + head;
    if (head >= r.heads) {
      const bool key = head < key_heads;
      data = key ? layer.keys : layer.values;
      type = layer.dtype;
      to = layer.row(block, head - (key ? r.heads : key_heads), row);
      if (coded && four == 0) (key ? layer.key_scales : layer.value_scales)[to] = largest / 127.F;
    }
    const std::int64_t low_to = to * r.head_dim + low_at(head);
    const std::int64_t high_to = to * r.head_dim + high_at(head);
    if (type == DataType::kInt8 || type == DataType::kFloat8E4M3) {
      auto* const codes = static_cast<std::uint8_t*>(data);
      const float inverse = largest > 0.F ? 127.F / largest : 0.F;
      *reinterpret_cast<std::uint32_t*>(codes + low_to) =
          coded ? int8_codes(low, inverse) : float8_codes(low);
      *reinterpret_cast<std::uint32_t*>(codes + high_to) =
          coded ? int8_codes(high, inverse) : float8_codes(high);
    } else {
      store_four(data, type, low_to, low);
      store_four(data, type, high_to, high);
    }
  }
}

// Whether rope_write_fours serves it.
bool takes_fours(const RopeWriteArguments& r) {
  if (r.last_sequence < 0 || r.head_dim > kWidestHead || r.layer.head_dim != r.head_dim)
    return false;
  if (r.head_dim % kFeatures != 0 || r.rope.rotary_dim % kFeatures != 0) return false;
  for (const DataType type : {r.q_type, r.k_type, r.v_type})
    if (type != DataType::kFloat32) return false;
  for (const void* data : {r.q, r.k, r.v, static_cast<const void*>(r.out)})
    if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) return false;
  return true;
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
    r.last_sequence = static_cast<std::int32_t>(step.sizes.sequences) - 1;
    const auto run = [&](auto kernel, std::int64_t step_heads, std::int64_t steps) {
      const std::int64_t heads = op_.rope.heads + 2 * op_.write.kv_heads;
      r.block_heads = static_cast<std::int32_t>(step_heads * steps);
      const auto blocks = static_cast<unsigned>((heads + r.block_heads - 1) / r.block_heads);
      launch_early(kernel, "rope_cache_write", dim3(static_cast<unsigned>(q.rows), blocks),
                   kThreads, static_cast<std::size_t>(rope_.rotary_dim / 2) * sizeof(Angle),
                   step.features->capability >= 90, step.stream, r);
    };
    if (!takes_fours(r)) return run(rope_write_kernel, kWarps, 1);
    r.lanes =
        static_cast<std::int32_t>(std::bit_ceil(static_cast<unsigned>(r.head_dim / kFeatures)));
    const std::int64_t step_heads = kThreads / r.lanes;
    const std::int64_t steps = (r.heads + 2 * r.layer.kv_heads + step_heads - 1) / step_heads;
    // Few tokens: a block for each step, so that nothing waits for another. Many: as many blocks
    // as run at once, each with more heads of its token.
    const std::int64_t blocks =
        std::clamp<std::int64_t>(kBlocksAtOnce * step.features->multiprocessors / q.rows, 1, steps);
    run(rope_write_fours, step_heads, (steps + blocks - 1) / blocks);
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
