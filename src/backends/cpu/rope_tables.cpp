// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/rope_tables.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace tenon::cpu {
namespace {

const Rope* rope_of(const ProgramNode& node) {
  if (const auto* rope = std::get_if<Rope>(&node.op)) return rope;
  if (const auto* fused = std::get_if<RopeCacheWrite>(&node.op)) return &fused->rope;
  return nullptr;
}

void fill(const Rope& op, const std::int32_t* positions, const Batch& batch, float* table,
          ThreadPool& pool) {
  const auto sequence_of = [&](std::int64_t token) {
    const auto next = std::upper_bound(batch.token_begin.begin(), batch.token_begin.end(), token);
    return static_cast<std::size_t>(next - batch.token_begin.begin()) - 1;
  };
  const auto half = static_cast<std::int64_t>(op.inv_freq.size());
  pool.run_ranges(batch.tokens(), 8, [&](std::int64_t begin, std::int64_t end, int) {
    RopeFrequencies frequencies;
    std::int64_t known_until = begin;  // tokens before it belong to the same sequence
    for (std::int64_t t = begin; t < end; ++t) {
      if (t >= known_until) {
        const std::size_t s = sequence_of(t);
        frequencies = rope_frequencies(op, batch.sequence_length[s]);
        known_until = batch.token_begin[s + 1];
      }
      float* cosines = table + t * 2 * half;
      for (std::int64_t i = 0; i < half; ++i) {
        // One fp32 product, as the models were trained: its rounding matters at long contexts.
        const float angle =
            static_cast<float>(positions[t]) * frequencies.inv_freq[static_cast<std::size_t>(i)];
        cosines[i] = std::cos(angle) * frequencies.amplitude;
        cosines[half + i] = std::sin(angle) * frequencies.amplitude;
      }
    }
  });
}

}  // namespace

RopeFrequencies rope_frequencies(const Rope& op, std::int64_t length) {
  if (op.length == RopeLength::kFixed || length <= op.original_length)
    return {op.inv_freq, op.amplitude};
  if (op.length == RopeLength::kSwitch) return {op.long_inv_freq, op.long_amplitude};
  // Dynamic NTK scaling, as transformers computes it: the base grows so that the lowest frequency
  // stretches over the whole length.
  const double dim = static_cast<double>(op.rotary_dim);
  const double stretch = static_cast<double>(op.dynamic_factor) * static_cast<double>(length) /
                             static_cast<double>(op.original_length) -
                         (static_cast<double>(op.dynamic_factor) - 1.0);
  const double base = static_cast<double>(op.base) * std::pow(stretch, dim / (dim - 2.0));
  RopeFrequencies out{op.inv_freq, op.amplitude};
  for (std::size_t i = 0; i < out.inv_freq.size(); ++i)
    out.inv_freq[i] = static_cast<float>(1.0 / std::pow(base, 2.0 * static_cast<double>(i) / dim));
  return out;
}

bool same_angles(const Rope& a, const Rope& b) {
  return a.rotary_dim == b.rotary_dim && a.length == b.length && a.inv_freq == b.inv_freq &&
         a.long_inv_freq == b.long_inv_freq && a.original_length == b.original_length &&
         a.base == b.base && a.dynamic_factor == b.dynamic_factor && a.amplitude == b.amplitude &&
         a.long_amplitude == b.long_amplitude;
}

const float* RopeTables::find(const Rope& op, const std::int32_t* positions, const Batch& batch,
                              ThreadPool& pool) {
  auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& candidate) {
    return candidate.positions == positions && same_angles(candidate.op, op);
  });
  if (entry == entries_.end()) entry = entries_.insert(entry, Entry{op, positions, false, {}});
  if (!entry->valid) {
    entry->table.resize(static_cast<std::size_t>(batch.tokens()) * op.inv_freq.size() * 2);
    fill(op, positions, batch, entry->table.data(), pool);
    entry->valid = true;
  }
  return entry->table.data();
}

std::int64_t RopeTables::bytes(std::span<const ProgramNode> nodes, const StepSizes& limits) {
  std::vector<const Rope*> distinct;
  std::int64_t total = 0;
  for (const ProgramNode& node : nodes) {
    const Rope* rope = rope_of(node);
    if (rope == nullptr || std::any_of(distinct.begin(), distinct.end(), [&](const Rope* other) {
          return same_angles(*other, *rope);
        }))
      continue;
    distinct.push_back(rope);
    total += limits.tokens * rope->rotary_dim * static_cast<std::int64_t>(sizeof(float));
  }
  return total;
}

}  // namespace tenon::cpu
