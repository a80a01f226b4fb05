// RopeTables: sines and cosines of the step's positions, computed by the first layer that asks and
// shared by all others with the same frequencies.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "backends/backend.h"
#include "core/thread_pool.h"

namespace tenon::cpu {

/// Inverse frequencies and amplitude that `op` gives a sequence of `length` tokens.
struct RopeFrequencies {
  std::vector<float> inv_freq;
  float amplitude = 1.F;
};
RopeFrequencies rope_frequencies(const Rope& op, std::int64_t length);

class RopeTables {
 public:
  /// Forgets the tables of the step before (their memory is kept).
  void start_step() {
    for (Entry& entry : entries_) entry.valid = false;
  }

  /// [T, rotary_dim]: of each token first its rotary_dim / 2 cosines, then as many sines, times the
  /// amplitude. `positions` are the op's input.
  const float* find(const Rope& op, const std::int32_t* positions, const Batch& batch,
                    ThreadPool& pool);

  /// Bytes find() will hold for the distinct ropes of a program.
  static std::int64_t bytes(std::span<const ProgramNode> nodes, const StepSizes& limits);

 private:
  struct Entry {
    Rope op;
    const std::int32_t* positions = nullptr;
    bool valid = false;
    std::vector<float> table;
  };
  std::vector<Entry> entries_;
};

/// Equal but for heads and head_dim: the same table serves both.
bool same_angles(const Rope& a, const Rope& b);

}  // namespace tenon::cpu
