// SPDX-License-Identifier: Apache-2.0
#include "layers/embedding_layer.h"

#include "layers/layer_name.h"

namespace tenon {

ValueId EmbeddingLayer::emit(GraphBuilder& builder, ValueId ids) const {
  std::vector<ShardMark> marks;
  if (sharding != EmbeddingSharding::kNone) {
    const bool by_rows = sharding == EmbeddingSharding::kVocabulary;
    const std::string cut = !axis.empty() ? axis : by_rows ? "vocab" : "hidden";
    builder.axis(cut, {.units = by_rows ? num_embeddings : embedding_dim});
    marks.push_back({.axis = cut, .dim = by_rows ? 0 : 1});
  }
  const WeightId table =
      builder.weight(name + ".weight", {num_embeddings, embedding_dim}, std::move(marks));
  return builder.add1(Embedding{}, {ids}, {table}, output.empty() ? value_name(name) : output);
}

}  // namespace tenon
