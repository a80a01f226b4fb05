// Ordered kernel lists of Attention, and of what writes the cache that it reads.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"
#include "backends/cpu/simd_kernels.h"

namespace tenon::cpu {
namespace {

std::int64_t rotated_key_bytes(const RopeCacheWrite& op, const NodeView&, const StepSizes& limits,
                               int) {
  return byte_count(DataType::kFloat32, {limits.tokens, op.write.kv_heads, op.write.head_dim},
                    "rotated keys");
}

std::int64_t one_head_a_thread(const Attention& op, const NodeView&, const StepSizes&,
                               int threads) {
  return threads * op.head_dim * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t spread_bias_bytes(const Attention& op, const NodeView&) {
  if (!op.relative_bias) return 0;
  return byte_count(DataType::kFloat32, {op.heads, 2 * op.relative_max_distance + 1}, "bias");
}

}  // namespace

std::span<const KernelEntry<Rope>> kernels(const Rope*) {
  static const KernelEntry<Rope> list[] = {
      {.name = "rope_avx512", .reject = needs<Isa::kAvx512>, .make = make_for<avx512_kernels>},
      {.name = "rope_avx2", .reject = needs<Isa::kAvx2>, .make = make_for<avx2_kernels>},
      {.name = "rope_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<CacheWrite>> kernels(const CacheWrite*) {
  static const KernelEntry<CacheWrite> list[] = {
      {.name = "cache_write_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>,
       .planned_workspace = cache_write_workspace},
      {.name = "cache_write_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>,
       .planned_workspace = cache_write_workspace},
      {.name = "cache_write_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<RopeCacheWrite>> kernels(const RopeCacheWrite*) {
  static const KernelEntry<RopeCacheWrite> list[] = {
      {.name = "rope_cache_write_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>,
       .planned_workspace = rope_cache_write_workspace},
      {.name = "rope_cache_write_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>,
       .planned_workspace = rope_cache_write_workspace},
      {.name = "rope_cache_write_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_workspace = rotated_key_bytes},
  };
  return list;
}

std::span<const KernelEntry<Attention>> kernels(const Attention*) {
  static const KernelEntry<Attention> list[] = {
      {.name = "attention_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>,
       .planned_bytes = spread_bias_bytes,
       .planned_workspace = attention_workspace},
      {.name = "attention_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>,
       .planned_bytes = spread_bias_bytes,
       .planned_workspace = attention_workspace},
      {.name = "attention_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_bytes = float_weight_bytes,
       .planned_workspace = one_head_a_thread},
  };
  return list;
}

}  // namespace tenon::cpu
