// SPDX-License-Identifier: Apache-2.0
#include "core/mapping.h"

#include <algorithm>

#include "core/check.h"

namespace tenon {

Range even_cut(std::int64_t total, int parts, int index) {
  const std::int64_t base = total / parts;
  const std::int64_t larger = total % parts;
  const std::int64_t begin = base * index + std::min<std::int64_t>(index, larger);
  return {begin, begin + base + (index < larger ? 1 : 0)};
}

Mapping checked_mapping(Mapping mapping) {
  TENON_CHECK(mapping.tp_size >= 1 && mapping.pp_size >= 1 && mapping.cp_size >= 1,
              ErrorCode::kInvalidArgument,
              "mapping: tp_size {}, pp_size {} and cp_size {} must each be at least 1",
              mapping.tp_size, mapping.pp_size, mapping.cp_size);
  TENON_CHECK(mapping.cp_size == 1, ErrorCode::kUnsupported,
              "mapping: cp_size {}: context parallelism is not supported yet; use 1",
              mapping.cp_size);
  TENON_CHECK(mapping.moe_ep_size == -1 || mapping.moe_ep_size == 1, ErrorCode::kUnsupported,
              "mapping: moe_ep_size {}: expert parallelism is not supported yet",
              mapping.moe_ep_size);
  TENON_CHECK(mapping.moe_tp_size == -1 || mapping.moe_tp_size == mapping.tp_size,
              ErrorCode::kInvalidArgument,
              "mapping: moe_tp_size {} x moe_ep_size 1 must equal tp_size {}", mapping.moe_tp_size,
              mapping.tp_size);
  const std::int64_t product = std::int64_t{mapping.tp_size} * mapping.pp_size * mapping.cp_size;
  TENON_CHECK(product <= 1024, ErrorCode::kInvalidArgument,
              "mapping: tp_size x pp_size x cp_size = {}, more than 1024 ranks", product);
  if (mapping.world_size <= 1) mapping.world_size = static_cast<int>(product);
  TENON_CHECK(mapping.world_size == product, ErrorCode::kInvalidArgument,
              "mapping: world_size {} must equal tp_size {} x pp_size {} x cp_size {} = {}",
              mapping.world_size, mapping.tp_size, mapping.pp_size, mapping.cp_size, product);
  return mapping;
}

RankPlace place_of(const Mapping& mapping, int rank) {
  RankPlace place;
  place.rank = rank;
  place.tp = rank % mapping.tp_size;
  place.cp = rank / mapping.tp_size % mapping.cp_size;
  place.pp = rank / mapping.tp_size / mapping.cp_size;
  return place;
}

}  // namespace tenon
