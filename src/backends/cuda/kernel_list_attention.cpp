// Ordered kernel lists of Attention, and of what writes the cache that it reads.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "backends/cuda/attention_arguments.h"
#include "backends/cuda/attention_tensor_core.h"
#include "backends/cuda/fused_kernels.h"
#include "backends/cuda/plain/plain_kernels.h"
#include "backends/cuda/rope.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kPlainSharedBytes = 47 * 1024;  // without asking the device for more

std::vector<PackedNeed> needs(const Rope& op, const NodeView&) { return rope_needs(op); }
std::vector<PackedNeed> needs(const RopeCacheWrite& op, const NodeView&) {
  return rope_needs(op.rope);
}

std::string angles_fit(std::int64_t rotary_dim) {
  if (rotary_dim * 4 <= kPlainSharedBytes) return {};
  return fmt::format("rotary_dim {} is more than {}", rotary_dim, kPlainSharedBytes / 4);
}

std::string reject(const Rope& op, const NodeView&, const DeviceFeatures&) {
  return angles_fit(op.rotary_dim);
}
std::string reject(const RopeCacheWrite& op, const NodeView&, const DeviceFeatures&) {
  return angles_fit(op.rope.rotary_dim);
}

// A head's query and sum lie in shared memory.
std::string reject_wide(const Attention& op, const NodeView&, const DeviceFeatures&) {
  if (op.head_dim * 8 <= kPlainSharedBytes) return {};
  return fmt::format("head_dim {} is more than {}", op.head_dim, kPlainSharedBytes / 8);
}

}  // namespace

std::span<const KernelEntry<Rope>> kernels(const Rope*) {
  static const KernelEntry<Rope> list[] = {
      {.name = "rope_plain", .reject = reject, .make = make_plain, .needs = needs},
  };
  return list;
}

std::span<const KernelEntry<CacheWrite>> kernels(const CacheWrite*) {
  static const KernelEntry<CacheWrite> list[] = {
      {.name = "cache_write_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<RopeCacheWrite>> kernels(const RopeCacheWrite*) {
  static const KernelEntry<RopeCacheWrite> list[] = {
      {.name = "rope_cache_write_fused", .reject = reject, .make = make_fused, .needs = needs},
      {.name = "rope_cache_write_plain", .reject = reject, .make = make_plain, .needs = needs},
  };
  return list;
}

std::span<const KernelEntry<Attention>> kernels(const Attention*) {
  static const KernelEntry<Attention> list[] = {
      {.name = "attention_hopper",
       .activation = DataType::kBFloat16,
       .row_invariant = false,
       .reject = reject_attention_hopper,
       .make = make_attention_hopper,
       .needs = attention_split_needs,
       .planned_workspace = attention_split_workspace},
      {.name = "attention_mma",
       .activation = DataType::kBFloat16,
       .row_invariant = false,
       .reject = reject_attention_mma,
       .make = make_attention_mma,
       .needs = attention_split_needs,
       .planned_workspace = attention_split_workspace},
      {.name = "attention_mma_rows",
       .activation = DataType::kBFloat16,
       .reject = reject_attention_mma_rows,
       .make = make_attention_mma_rows,
       .needs = attention_needs},
      {.name = "attention_plain",
       .reject = reject_wide,
       .make = make_plain,
       .needs = attention_needs},
  };
  return list;
}

}  // namespace tenon::cuda
