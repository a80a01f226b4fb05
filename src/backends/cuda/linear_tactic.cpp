// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_tactic.h"

#include <fmt/core.h>

#include <bit>

namespace tenon::cuda {
namespace {

std::size_t index_of(std::int64_t rows) {
  return static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(tactic_rows(rows))));
}

}  // namespace

std::string LinearTactic::text() const {
  const char* const name = route == Route::kStream     ? "stream"
                           : route == Route::kWidening ? "widening"
                           : route == Route::kProducts ? "cublaslt"
                           : route == Route::kSums     ? "sums"
                                                       : "joined";
  return algorithm == 0 ? name : fmt::format("{} {:016x}", name, algorithm);
}

void TacticsByRows::set(std::int64_t rows, const LinearTactic& tactic) {
  const std::size_t index = index_of(rows);
  if (index < entries_.size()) entries_[index] = {true, tactic};
}

const LinearTactic* TacticsByRows::find(std::int64_t rows) const {
  const std::size_t index = index_of(rows);
  return index < entries_.size() && entries_[index].set ? &entries_[index].tactic : nullptr;
}

}  // namespace tenon::cuda
