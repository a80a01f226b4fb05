// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "graph/passes.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

/// One sweep over the graph. A node takes part in one change at most, so that what uses() says of
/// it is still true; chains are shortened by further sweeps.
class Sweep {
 public:
  Sweep(Graph& graph, const Taps& taps)
      : rewrite_(graph, taps), nodes_(graph.nodes.size()), touched_(graph.nodes.size()) {}

  bool run() {
    bool changed = false;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(nodes_); ++i)
      if (!rewrite_.dead(i) && rewrite_.holds<Scale>(i)) changed |= fold(i);
    rewrite_.finish();
    return changed;
  }

 private:
  bool fold(std::int32_t scale) {
    const ValueId x = rewrite_.node(scale).inputs.front();
    const ValueId y = rewrite_.node(scale).outputs.front();
    const std::int32_t source = rewrite_.uses().producer[static_cast<std::size_t>(x)];
    if (rewrite_.pinned(y) || !free({scale, source})) return false;
    if (factor(scale) == 1.F) return remove(scale, source, x, y);
    if (rewrite_.readers(y).size() != 1) return false;
    const std::int32_t reader = rewrite_.readers(y).front();
    if (!free({reader}) || std::ranges::count(rewrite_.node(reader).inputs, y) != 1) return false;
    return into_scale(scale, source, reader, x) || into_attention(scale, source, reader, x, y) ||
           through_rope(scale, source, reader, x, y);
  }

  /// A factor of 1: readers read x.
  bool remove(std::int32_t scale, std::int32_t source, ValueId x, ValueId y) {
    for (const std::int32_t reader : rewrite_.readers(y))
      if (!free({reader})) return false;
    for (const std::int32_t reader : rewrite_.readers(y)) {
      std::ranges::replace(rewrite_.node(reader).inputs, y, x);
      touch({reader});
    }
    touch({scale, source});
    rewrite_.kill(scale);
    return true;
  }

  bool into_scale(std::int32_t scale, std::int32_t source, std::int32_t reader, ValueId x) {
    auto* next = std::get_if<Scale>(&rewrite_.node(reader).op);
    if (next == nullptr || !multiply(next->factor, factor(scale))) return false;
    rewrite_.node(reader).inputs = {x};
    return drop(scale, source, reader);
  }

  bool into_attention(std::int32_t scale, std::int32_t source, std::int32_t reader, ValueId x,
                      ValueId y) {
    auto* attention = std::get_if<Attention>(&rewrite_.node(reader).op);
    if (attention == nullptr || rewrite_.node(reader).inputs.front() != y ||
        !multiply(attention->scale, factor(scale)))
      return false;
    rewrite_.node(reader).inputs.front() = x;
    return drop(scale, source, reader);
  }

  /// Scale, Rope, Attention: a rotation is linear, so the factor passes through it.
  bool through_rope(std::int32_t scale, std::int32_t source, std::int32_t rope, ValueId x,
                    ValueId y) {
    if (!rewrite_.holds<Rope>(rope) || rewrite_.node(rope).inputs.front() != y) return false;
    const ValueId rotated = rewrite_.node(rope).outputs.front();
    if (rewrite_.pinned(rotated) || rewrite_.readers(rotated).size() != 1) return false;
    const std::int32_t reader = rewrite_.readers(rotated).front();
    auto* attention = std::get_if<Attention>(&rewrite_.node(reader).op);
    const auto& inputs = rewrite_.node(reader).inputs;
    if (attention == nullptr || !free({reader}) || inputs.front() != rotated ||
        std::ranges::count(inputs, rotated) != 1 || !multiply(attention->scale, factor(scale)))
      return false;
    rewrite_.node(rope).inputs.front() = x;
    touch({reader});
    return drop(scale, source, rope);
  }

  float factor(std::int32_t scale) { return std::get<Scale>(rewrite_.node(scale).op).factor; }

  static bool multiply(float& into, float factor) {
    const float product = into * factor;
    if (!std::isfinite(product)) return false;
    into = product;
    return true;
  }

  bool drop(std::int32_t scale, std::int32_t source, std::int32_t reader) {
    touch({scale, source, reader});
    rewrite_.kill(scale);
    return true;
  }
  bool free(std::initializer_list<std::int32_t> nodes) const {
    return std::ranges::none_of(nodes, [&](std::int32_t node) {
      return node >= 0 && touched_[static_cast<std::size_t>(node)];
    });
  }
  void touch(std::initializer_list<std::int32_t> nodes) {
    for (const std::int32_t node : nodes)
      if (node >= 0) touched_[static_cast<std::size_t>(node)] = true;
  }

  Rewrite rewrite_;
  std::size_t nodes_;
  std::vector<bool> touched_;
};

}  // namespace

void fold_scales(Graph& graph, const Taps& taps) {
  while (Sweep(graph, taps).run()) {
  }
}

}  // namespace tenon
