// SPDX-License-Identifier: Apache-2.0
#include "backends/loading.h"

#include <string>

#include "core/check.h"

namespace tenon {

void plan_rows(std::span<const MemoryRow> rows, Ledger& ledger, std::string_view owner) {
  for (const MemoryRow& row : rows)
    ledger.plan(row.kind, fmt::format("{}: {}", owner, row.name), row.bytes);
}

void draw_rows(std::span<const MemoryRow> rows, Ledger& ledger, std::string_view owner) {
  for (const MemoryRow& row : rows)
    ledger.draw(row.kind, fmt::format("{}: {}", owner, row.name), row.bytes);
}

std::function<void()> release_rows(std::vector<MemoryRow> rows, Ledger& ledger,
                                   std::string_view owner) {
  return [rows = std::move(rows), &ledger, owner = std::string(owner)] {
    for (const MemoryRow& row : rows)
      ledger.draw(row.kind, fmt::format("{}: {}", owner, row.name), -row.bytes);
  };
}

LoadedWeights::LoadedWeights(const ProgramDescription& program, const WeightLoader& load)
    : program_(program), load_(load), uses_(program.weights.size()) {
  for (const ProgramNode& node : program.nodes)
    for (const int weight : node.weights) ++uses_.at(static_cast<std::size_t>(weight));
}

std::vector<QuantizedTensor> LoadedWeights::of(const ProgramNode& node) {
  std::vector<QuantizedTensor> out;
  for (const int weight : node.weights) {
    if (!loaded_.contains(weight))
      loaded_.emplace(weight, load_(program_.weights[static_cast<std::size_t>(weight)]));
    out.push_back(loaded_.at(weight));
    if (--uses_[static_cast<std::size_t>(weight)] == 0) loaded_.erase(weight);
  }
  return out;
}

}  // namespace tenon
