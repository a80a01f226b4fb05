// A naive interpreter of graphs, for tests alone: fp32, one node after another, caches as plain
// vectors. Several ranks run in lockstep, so that collectives need no threads. It shares no code
// with the backends: passes and partition are judged by it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/mapping.h"
#include "graph/graph.h"

namespace tenon::interpreter {

struct Array {
  std::int64_t rows = 0;
  std::int64_t width = 1;
  std::vector<float> data;  ///< integers too: small enough to be exact

  Array() = default;
  Array(std::int64_t r, std::int64_t w)
      : rows(r), width(w), data(static_cast<std::size_t>(r * w)) {}
  float& at(std::int64_t row, std::int64_t column) {
    return data.at(static_cast<std::size_t>(row * width + column));
  }
  float at(std::int64_t row, std::int64_t column) const {
    return data.at(static_cast<std::size_t>(row * width + column));
  }
};

/// A run of the step's rows that belong to one sequence.
struct SequenceRows {
  int id = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t past = 0;  ///< tokens cached before this step
};

using Arrays = std::map<std::string, Array>;

struct Step {
  Arrays inputs;
  std::vector<SequenceRows> sequences;
};

struct CacheRows {
  std::vector<std::vector<float>> keys;  ///< one row a token
  std::vector<std::vector<float>> values;
};
/// (cache_layer, sequence)
using Cache = std::map<std::pair<std::int64_t, int>, CacheRows>;

/// Ops that one rank computes alone.
std::vector<Array> run_op(const Op& op, const std::vector<const Array*>& inputs,
                          const std::vector<const Array*>& weights, const Step& step, Cache& cache);

/// All ranks of a mapping, each with its graph. Weights are given whole; cuts are applied here.
class Ranks {
 public:
  Ranks(std::vector<Graph> graphs, const Mapping& mapping, const Arrays& weights);

  /// Outputs by name. Throws std::runtime_error where ranks block each other, or hold different
  /// numbers of one output.
  Arrays step(const Step& step);

 private:
  struct Rank {
    Graph graph;
    RankPlace place;
    std::vector<Array> weights;
    Cache cache;
    std::vector<std::optional<Array>> values;
    std::size_t next_node = 0;
    int collectives = 0;
  };
  bool advance(Rank& rank, const Step& step);
  bool run_collective(Rank& rank, const Node& node);
  Array joined(const Op& op, const std::vector<std::optional<Array>>& parts) const;

  Mapping mapping_;
  std::vector<Rank> ranks_;
  std::map<std::pair<int, int>, std::vector<std::optional<Array>>> meetings_;  // (stage, number)
  std::map<std::pair<int, int>, std::vector<Array>> mail_;                     // (from, to)
};

/// One rank.
Ranks single(const Graph& graph, const Arrays& weights);

}  // namespace tenon::interpreter
