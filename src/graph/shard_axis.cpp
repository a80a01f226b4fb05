// How axes and layers are cut over ranks: pure arithmetic, shared by partition and checkpoints.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <optional>
#include <string>

#include "core/check.h"
#include "graph/partition.h"

namespace tenon {
namespace {

/// Units and groups of one rank.
struct Share {
  Range units;
  Range groups;
};

/// The share of rank `tp`, or nothing where the axis cannot be cut over so many ranks.
std::optional<Share> share_of(const ShardAxis& axis, int tp_size, int tp) {
  const std::int64_t groups = axis.groups > 0 ? axis.groups : axis.units;
  const std::int64_t per_group = axis.units / groups;
  const std::int64_t granule = std::clamp<std::int64_t>(axis.granule, 1, axis.units);
  // Whole groups that end on a granule too stay together: such a run is a piece.
  const std::int64_t run = std::lcm(per_group, granule) / per_group;
  const std::int64_t pieces = (groups + run - 1) / run;
  if (tp_size <= pieces) {
    const Range cut = even_cut(pieces, tp_size, tp);
    const Range held{std::min(cut.begin * run, groups), std::min(cut.end * run, groups)};
    return Share{{held.begin * per_group, held.end * per_group}, held};
  }
  // More ranks than groups: each group's units are divided, if granules allow it.
  if (tp_size % groups != 0 || run != 1) return std::nullopt;
  const auto ranks = static_cast<int>(tp_size / groups);
  if (ranks > per_group / granule) return std::nullopt;
  const std::int64_t group = tp / ranks;
  const Range cut = even_cut(per_group / granule, ranks, tp % ranks);
  const std::int64_t first = group * per_group;
  return Share{{first + cut.begin * granule, first + cut.end * granule}, {group, group + 1}};
}

std::string list_sizes(const std::vector<int>& sizes) {
  constexpr std::size_t kShown = 24;
  std::string out;
  for (std::size_t i = 0; i < std::min(sizes.size(), kShown); ++i)
    out += fmt::format("{}{}", i > 0 ? ", " : "", sizes[i]);
  return sizes.size() > kShown ? out + ", …" : out;
}

template <class Fits>
std::vector<int> sizes_up_to(std::int64_t limit, Fits&& fits) {
  std::vector<int> sizes;
  for (int size = 1; size <= limit; ++size)
    if (fits(size)) sizes.push_back(size);
  return sizes;
}

constexpr std::int64_t kMaxRanks = 1024;  // as checked_mapping()

}  // namespace

Range cut_axis(std::string_view name, const ShardAxis& axis, int tp_size, int tp, bool per_group) {
  TENON_ASSERT(axis.units > 0 && tp_size > 0 && tp >= 0 && tp < tp_size);
  const auto share = share_of(axis, tp_size, tp);
  if (!share) {
    const auto sizes = sizes_up_to(std::min(axis.units, kMaxRanks),
                                   [&](int size) { return share_of(axis, size, 0).has_value(); });
    fail(ErrorCode::kInvalidArgument,
         "tp_size {} does not fit: the axis \"{}\" has {} units in {} groups, cut at multiples of "
         "{}; at most as many ranks as groups, or a multiple of them, each with a unit at least; "
         "sizes that work: {}",
         tp_size, name, axis.units, axis.groups > 0 ? axis.groups : axis.units, axis.granule,
         list_sizes(sizes));
  }
  return per_group && axis.groups > 0 ? share->groups : share->units;
}

std::vector<int> possible_tp_sizes(const Graph& graph, int limit) {
  return sizes_up_to(limit, [&](int size) {
    return std::ranges::all_of(
        graph.axes, [&](const auto& entry) { return share_of(entry.second, size, 0).has_value(); });
  });
}

void check_tp_size(const Graph& graph, int tp_size) {
  for (const auto& [name, axis] : graph.axes) {
    if (share_of(axis, tp_size, 0)) continue;
    const auto sizes = possible_tp_sizes(graph, static_cast<int>(kMaxRanks));
    fail(ErrorCode::kInvalidArgument,
         "tp_size {} does not fit: {} \"{}\" in {} groups, cut at multiples of {}, cannot be "
         "shared by so many ranks; sizes that work: {}",
         tp_size, axis.units, name, axis.groups > 0 ? axis.groups : axis.units, axis.granule,
         list_sizes(sizes));
  }
}

Range stage_layers(std::int64_t layers, int pp_size, int pp) {
  TENON_CHECK(pp_size <= std::max<std::int64_t>(layers, 1), ErrorCode::kInvalidArgument,
              "pp_size {} does not fit: there are {} layers, and each stage needs one; sizes that "
              "work: 1 to {}",
              pp_size, layers, std::max<std::int64_t>(layers, 1));
  return even_cut(layers, pp_size, pp);
}

}  // namespace tenon
