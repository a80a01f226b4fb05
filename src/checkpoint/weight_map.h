// WeightMap: rows that say how a model's logical weights come from the tensors of its files:
// renamed, cut out of a merged tensor, with rotary rows put into our order. Parts stay apart;
// merging happens when a backend packs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/mapping.h"

namespace tenon {

struct WeightRule {
  std::string name;    ///< logical: "transformer.layers.0.attention.q.weight"
  std::string source;  ///< the file's: "model.layers.0.self_attn.q_proj.weight"
  /// Rows of the file's tensor that are this part (merged QKV and the like); unset: all.
  std::optional<Range> rows;
  bool transpose = false;  ///< the file holds [in, out] (GPT-2's Conv1D)
  /// > 0: the file's rows are, per head of this size, interleaved pairs (2i, 2i+1) as llama.cpp
  /// writes Q and K of rotary models; they are put back into halves (i, i + head/2).
  std::int64_t unpermute_head = 0;
};

struct WeightMap {
  std::vector<WeightRule> rules;
  /// Tensors of the files that are known and not needed ("rotary_emb.inv_freq"): suffixes.
  std::vector<std::string> ignored_suffixes;
};

}  // namespace tenon
