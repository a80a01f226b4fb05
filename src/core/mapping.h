// Where a rank stands in the parallel mapping, and how evenly things are cut over ranks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tenon/types.h"

namespace tenon {

/// Half-open range [begin, end).
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// The share of part `index` where `total` units are cut into `parts` runs that differ by at most
/// one unit, the larger ones first.
Range even_cut(std::int64_t total, int parts, int index);

struct RankPlace {
  int rank = 0;
  int tp = 0;
  int pp = 0;
  int cp = 0;
};

/// Throws Error{kInvalidArgument} where sizes are not positive, do not multiply up to world_size
/// (0 or 1 with other sizes given: world_size is derived), or ask for what is not supported.
Mapping checked_mapping(Mapping mapping);

RankPlace place_of(const Mapping& mapping, int rank);

}  // namespace tenon
