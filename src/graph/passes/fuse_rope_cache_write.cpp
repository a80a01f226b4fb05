// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

struct Match {
  std::int32_t rotate_q = -1;
  std::int32_t rotate_k = -1;
  std::int32_t write = -1;
};

/// The same rotation, whatever the number of heads.
bool same_rotation(Rope a, const Rope& b) {
  a.heads = b.heads;
  return same_op(a, b);
}

bool all_after(const std::vector<std::int32_t>& readers, std::int32_t position) {
  return std::ranges::all_of(readers, [&](std::int32_t reader) { return reader > position; });
}

/// The rotation of the queries that attend to `match.write`'s cache, if it can be moved there.
bool find_query(Rewrite& rewrite, Match& match) {
  const ValueId cache = rewrite.node(match.write).outputs.front();
  const Node& rotate_k = rewrite.node(match.rotate_k);
  for (const std::int32_t reader : rewrite.readers(cache)) {
    if (!rewrite.holds<Attention>(reader)) continue;
    const ValueId q = rewrite.node(reader).inputs.front();
    const std::int32_t rotate_q = rewrite.producer<Rope>(q);
    if (rotate_q < 0 || rotate_q == match.rotate_k) continue;
    const Node& rotate = rewrite.node(rotate_q);
    const std::int32_t last = std::max({rotate_q, match.rotate_k, match.write});
    if (rotate.inputs[1] != rotate_k.inputs[1] ||
        !same_rotation(std::get<Rope>(rotate.op), std::get<Rope>(rotate_k.op)) ||
        !all_after(rewrite.readers(q), last) || !all_after(rewrite.readers(cache), last))
      continue;
    match.rotate_q = rotate_q;
    return true;
  }
  return false;
}

}  // namespace

// The fused node stands where the last of the three stood. The rotated k vanishes as a value.
void fuse_rope_cache_write(Graph& graph, const Taps& taps) {
  Rewrite rewrite(graph, taps);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    if (rewrite.dead(i) || !rewrite.holds<CacheWrite>(i)) continue;
    const ValueId k = rewrite.node(i).inputs.front();
    Match match{-1, rewrite.producer<Rope>(k), i};
    if (match.rotate_k < 0 || !rewrite.only_for(k, i) || k == rewrite.node(i).inputs[1] ||
        !find_query(rewrite, match))
      continue;
    const Node q = rewrite.node(match.rotate_q);
    const Node write = rewrite.node(i);
    Node fused{RopeCacheWrite{std::get<Rope>(q.op), std::get<CacheWrite>(write.op)},
               {q.inputs[0], rewrite.node(match.rotate_k).inputs[0], write.inputs[1], q.inputs[1]},
               {q.outputs[0], write.outputs[0]},
               {},
               write.layer};
    const std::int32_t last = std::max({match.rotate_q, match.rotate_k, i});
    for (const std::int32_t old : {match.rotate_q, match.rotate_k, i})
      if (old != last) rewrite.kill(old);
    rewrite.node(last) = std::move(fused);
  }
  rewrite.finish();
}

}  // namespace tenon
