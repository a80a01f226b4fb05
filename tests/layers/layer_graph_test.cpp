// What layers put into a graph: nodes, names and shard marks.
// SPDX-License-Identifier: Apache-2.0
#include "layer_test_support.h"
#include "layers/attention_layer.h"
#include "layers/embedding_layer.h"
#include "layers/layer_name.h"
#include "layers/mlp_layer.h"

namespace tenon {
namespace {

using testing::ElementsAre;

ValueId rows(GraphBuilder& builder, std::int64_t width) {
  return builder.input("x", ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, width}));
}

std::vector<std::string> ops(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.emplace_back(name_of(node.op));
  return names;
}

TEST(LayerGraphs, ValueNamesDropTheRoot) {
  EXPECT_EQ(value_name("transformer.layers.3.attention.q"), "layers.3.attention.q");
  EXPECT_EQ(value_name("lm_head"), "lm_head");
}

TEST(LayerGraphs, FusedGatedMlpIsPlain) {
  const auto build = [](const auto& layer) {
    GraphBuilder builder("mlp");
    builder.output(layer.emit(builder, rows(builder, 8)), "y");
    return builder.finish();
  };
  GatedMlpLayer plain{.name = "mlp", .hidden_size = 8, .ffn_hidden_size = 12};
  FusedGatedMlpLayer fused;
  static_cast<GatedMlpLayer&>(fused) = plain;
  EXPECT_EQ(print(build(plain)), print(build(fused)));
  EXPECT_NO_THROW(verify(build(fused), true));
}

TEST(LayerGraphs, AttentionWithAndWithoutCache) {
  AttentionLayer layer{.name = "attention",
                       .hidden_size = 8,
                       .num_attention_heads = 2,
                       .position = PositionEmbeddingType::kNone};
  const auto build = [&] {
    GraphBuilder builder("attention");
    const ValueId x = rows(builder, 8);
    builder.output(layer.emit(builder, x, kNoId), "y");
    return builder.finish();
  };
  EXPECT_THAT(ops(build()), ElementsAre("linear", "linear", "linear", "attention", "linear"));
  layer.cache_layer = 3;
  const Graph cached = build();
  EXPECT_THAT(ops(cached),
              ElementsAre("linear", "linear", "linear", "cache_write", "attention", "linear"));
  EXPECT_EQ(std::get<CacheWrite>(cached.nodes[3].op).cache_layer, 3);
}

TEST(LayerGraphs, EmbeddingMarksTheDimensionThatIsCut) {
  for (const auto sharding :
       {EmbeddingSharding::kNone, EmbeddingSharding::kVocabulary, EmbeddingSharding::kHidden}) {
    GraphBuilder builder("embedding");
    const ValueId ids =
        builder.input("ids", ValueType::tensor(DataType::kInt32, {Symbol::kTokens}));
    const EmbeddingLayer layer{
        .name = "e", .num_embeddings = 10, .embedding_dim = 4, .sharding = sharding};
    builder.output(layer.emit(builder, ids), "y");
    const Graph graph = builder.finish();
    const auto& marks = graph.weights[0].marks;
    if (sharding == EmbeddingSharding::kNone) {
      EXPECT_TRUE(marks.empty());
      continue;
    }
    ASSERT_EQ(marks.size(), 1U);
    const bool by_rows = sharding == EmbeddingSharding::kVocabulary;
    EXPECT_EQ(marks[0].dim, by_rows ? 0 : 1);
    EXPECT_EQ(graph.axes.at(marks[0].axis).units, by_rows ? 10 : 4);
  }
}

TEST(LayerGraphs, CrossAttentionRefusesOrders) {
  GraphBuilder builder("cross");
  const ValueId x = rows(builder, 8);
  const AttentionLayer layer{.name = "cross", .hidden_size = 8, .num_attention_heads = 2};
  EXPECT_THAT(test::error_of([&] { layer.emit_cross(builder, x, x); }),
              testing::HasSubstr("no order of positions"));
}

}  // namespace
}  // namespace tenon
