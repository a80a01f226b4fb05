// EmbeddingLayer: rows of a table by index. The table may be cut by rows (vocabulary) or by
// features (hidden); either way every rank ends up with the whole rows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/graph_builder.h"

namespace tenon {

/// Which dimension of the table is cut over ranks.
enum class EmbeddingSharding : std::uint8_t { kNone, kVocabulary, kHidden };

/// Weight: name.weight [num_embeddings, embedding_dim].
struct EmbeddingLayer {
  std::string name;
  std::int64_t num_embeddings = 0;
  std::int64_t embedding_dim = 0;
  EmbeddingSharding sharding = EmbeddingSharding::kVocabulary;
  std::string axis = {};  ///< empty: "vocab" or "hidden"
  std::string output = {};

  /// `ids` int32 [T] → float32 [T, embedding_dim]
  ValueId emit(GraphBuilder& builder, ValueId ids) const;
};

}  // namespace tenon
