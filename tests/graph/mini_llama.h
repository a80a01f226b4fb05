// A small decoder built by hand with GraphBuilder, with the oddities that passes and partition must
// bear; random weights; and steps that mix context chunks with decodes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "graph/graph_builder.h"
#include "interpreter.h"

namespace tenon {

enum class EmbeddingCut { kNone, kVocabulary, kHidden };

struct MiniLlama {
  std::int64_t layers = 3;
  std::int64_t hidden = 20;
  std::int64_t heads = 6;
  std::int64_t kv_heads = 3;
  std::int64_t head_dim = 4;
  std::int64_t features = 26;
  std::int64_t vocab = 31;
  std::int64_t features_granule = 1;
  EmbeddingCut embedding = EmbeddingCut::kVocabulary;
  bool tied = false;
  bool qkv_bias = false;
  bool row_bias = false;  ///< of the linears whose input is cut
  bool alibi = false;     ///< in place of rope
  bool relative_bias = false;
  bool scale_q = false;      ///< a Scale before Rope and one after
  bool norm_of_q = false;    ///< a Norm over all of q: it must be whole
  bool output_keys = false;  ///< layer 0's k is an output too
};

Graph build(const MiniLlama& model);

/// Weights of the graph by name, from a fixed seed; norms' gains near 1.
interpreter::Arrays random_weights(const Graph& graph);

/// Two sequences: contexts of 5 and 3 tokens, a decode of each, then a chunk of 4 with a decode.
std::vector<interpreter::Step> steps_of(const MiniLlama& model);

/// Outputs of all steps, one after another.
std::vector<interpreter::Arrays> run_steps(interpreter::Ranks ranks, const MiniLlama& model);

/// Every output of `expected` is in `got`, equal up to `tolerance` of its largest number.
void expect_same(const std::vector<interpreter::Arrays>& got,
                 const std::vector<interpreter::Arrays>& expected, double tolerance = 2e-5);

int count_ops(const Graph& graph, const std::string& name);

}  // namespace tenon
