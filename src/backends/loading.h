// Loading, as every backend does it: a node's weights, the rows of the ledger.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace tenon {

/// One row of the ledger.
struct MemoryRow {
  MemoryKind kind;
  const char* name;
  std::int64_t bytes = 0;
};

void plan_rows(std::span<const MemoryRow> rows, Ledger& ledger, std::string_view owner);
void draw_rows(std::span<const MemoryRow> rows, Ledger& ledger, std::string_view owner);
/// Gives the rows back when it is called.
std::function<void()> release_rows(std::vector<MemoryRow> rows, Ledger& ledger,
                                   std::string_view owner);

/// Asks for each weight once, however many nodes use it (a tied embedding), and lets go of it after
/// the last. Lives shorter than the program and the loader.
class LoadedWeights {
 public:
  LoadedWeights(const ProgramDescription& program, const WeightLoader& load);
  std::vector<QuantizedTensor> of(const ProgramNode& node);

 private:
  const ProgramDescription& program_;
  const WeightLoader& load_;
  std::vector<int> uses_;  // by nodes still to come, one a weight
  std::map<int, QuantizedTensor> loaded_;
};

}  // namespace tenon
