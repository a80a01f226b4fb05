// Partition: all ranks together give the numbers of the plain graph, whatever the mapping.
// SPDX-License-Identifier: Apache-2.0
#include "graph/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/passes.h"
#include "mini_llama.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Graph> parts_of(const Graph& graph, const Mapping& mapping) {
  std::vector<Graph> parts;
  for (int rank = 0; rank < checked_mapping(mapping).world_size; ++rank)
    parts.push_back(partition(graph, mapping, rank));
  return parts;
}

/// All ranks against the plain graph; `passes` afterwards on each rank.
void expect_mapping_works(const MiniLlama& model, int tp, int pp,
                          const std::vector<std::string>& passes = {}) {
  SCOPED_TRACE("tp " + std::to_string(tp) + " pp " + std::to_string(pp));
  const Graph graph = build(model);
  const auto weights = random_weights(graph);
  const Mapping mapping = checked_mapping({.tp_size = tp, .pp_size = pp});
  std::vector<Graph> parts = parts_of(graph, mapping);
  for (Graph& part : parts) run_passes(part, passes, {});
  const auto expected = run_steps(interpreter::single(graph, weights), model);
  expect_same(run_steps(interpreter::Ranks(std::move(parts), mapping, weights), model), expected);
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const Pass& pass : all_passes()) names.emplace_back(pass.name);
  return names;
}

TEST(Partition, OneRankLeavesTheGraphAlone) {
  const Graph graph = build({});
  EXPECT_EQ(print(partition(graph, {}, 0)), print(graph));
}

TEST(Partition, TensorParallel) {
  for (const int tp : {2, 3, 6}) expect_mapping_works({}, tp, 1);
}

TEST(Partition, KeysAndValuesOnSeveralRanks) {
  expect_mapping_works({.heads = 8, .kv_heads = 2, .output_keys = true}, 4, 1);
  expect_mapping_works({.heads = 6, .kv_heads = 1, .output_keys = true}, 3, 1);
  expect_mapping_works({.heads = 6, .kv_heads = 2, .output_keys = true}, 4, 1);  // 2 + 1 + 2 + 1
}

TEST(Partition, UnevenCuts) {
  expect_mapping_works({.heads = 5, .kv_heads = 5, .features = 23, .output_keys = true}, 4, 1);
  expect_mapping_works({.heads = 10, .kv_heads = 5}, 3, 1);
  expect_mapping_works({.features = 26, .features_granule = 4}, 3, 1);
}

TEST(Partition, EveryOddity) {
  for (const EmbeddingCut cut :
       {EmbeddingCut::kNone, EmbeddingCut::kVocabulary, EmbeddingCut::kHidden})
    for (const bool tied : {false, true})
      expect_mapping_works({.embedding = cut, .tied = tied}, 3, 1);
  expect_mapping_works({.qkv_bias = true, .row_bias = true}, 3, 1);
  expect_mapping_works({.alibi = true, .relative_bias = true}, 3, 1);
  expect_mapping_works({.alibi = true}, 6, 1);
  expect_mapping_works({.scale_q = true, .norm_of_q = true}, 2, 1);
}

TEST(Partition, PipelineParallel) {
  expect_mapping_works({}, 1, 2);
  expect_mapping_works({}, 1, 3);
  expect_mapping_works({.layers = 5, .tied = true, .output_keys = true}, 1, 3);
}

TEST(Partition, BothAndWithPasses) {
  expect_mapping_works({.tied = true, .row_bias = true}, 3, 2);
  expect_mapping_works({.heads = 8, .kv_heads = 2, .output_keys = true}, 4, 3);
  expect_mapping_works({.qkv_bias = true, .row_bias = true, .scale_q = true}, 2, 2, all_names());
}

TEST(Partition, TapsGiveTheWholeValueUnderEveryMapping) {
  const MiniLlama model{.heads = 8, .kv_heads = 2, .qkv_bias = true};
  Graph plain = build(model);
  const Mapping mapping = checked_mapping({.tp_size = 4, .pp_size = 2});
  Taps taps;
  for (const Value& value : plain.values)
    if (value.type.kind == ValueKind::kTensor && value.type.dtype == DataType::kFloat32)
      taps.insert(value.name);
  std::vector<Graph> parts;
  for (int rank = 0; rank < mapping.world_size; ++rank) {
    parts.push_back(partition(plain, mapping, rank, taps));
    const Taps within = taps_within(parts.back(), taps);
    attach_taps(parts.back(), within);
    run_passes(parts.back(), all_names(), within);
  }
  attach_taps(plain, taps);
  const auto weights = random_weights(plain);
  expect_same(run_steps(interpreter::Ranks(std::move(parts), mapping, weights), model),
              run_steps(interpreter::single(plain, weights), model));
}

TEST(Partition, CutsAndAttributesAreTheRanksOwn) {
  const Graph graph = build({.alibi = true});
  const Graph part = partition(graph, {.tp_size = 3}, 1);
  const Weight& k = part.weight(part.find_weight("layers.0.k.weight"));
  EXPECT_THAT(k.shape, ElementsAre(4, 20));
  EXPECT_THAT(k.cut, ElementsAre(std::pair(4, 8), std::pair(0, 20)));
  for (const Node& node : part.nodes)
    if (const auto* attention = std::get_if<Attention>(&node.op)) {
      EXPECT_EQ(attention->heads, 2);
      EXPECT_EQ(attention->kv_heads, 1);
      EXPECT_EQ(attention->head_begin, 2);
      EXPECT_EQ(attention->total_heads, 6);
    }
  // One sum for the embedding, two a layer; one gather for the logits.
  EXPECT_EQ(count_ops(part, "all_reduce"), 7);
  EXPECT_EQ(count_ops(part, "all_gather"), 1);
  EXPECT_NE(part.find_value("logits"), kNoId);
}

TEST(Partition, OnlyRankZeroAddsARowBias) {
  const Graph graph = build({.row_bias = true});
  EXPECT_NE(partition(graph, {.tp_size = 2}, 0).find_weight("layers.0.o.bias"), kNoId);
  EXPECT_EQ(partition(graph, {.tp_size = 2}, 1).find_weight("layers.0.o.bias"), kNoId);
}

TEST(Partition, StagesKeepWhatTheyUse) {
  const Graph graph = build({});
  const Mapping mapping{.tp_size = 3, .pp_size = 2};
  const Graph first = partition(graph, mapping, 1);
  const Graph last = partition(graph, mapping, 4);
  EXPECT_EQ(first.find_weight("layers.2.q.weight"), kNoId);
  EXPECT_EQ(last.find_weight("layers.1.q.weight"), kNoId);
  EXPECT_EQ(last.find_weight("embedding.weight"), kNoId);
  EXPECT_TRUE(first.outputs.empty());
  EXPECT_EQ(last.outputs.size(), 1U);
  EXPECT_EQ(first.inputs.size(), 3U);
  EXPECT_EQ(last.inputs.size(), 3U);
  EXPECT_EQ(count_ops(first, "send"), 1);
  EXPECT_EQ(std::get<Send>(first.nodes.back().op).peer, 4);
  EXPECT_EQ(std::get<Receive>(last.nodes.front().op).peer, 1);
  for (const Node& node : last.nodes)
    if (const auto* attention = std::get_if<Attention>(&node.op)) {
      EXPECT_EQ(attention->cache_layer, 0);
      EXPECT_EQ(node.layer, 2);
    }
}

std::string error_of(const Graph& graph, const Mapping& mapping, int rank = 0) {
  try {
    partition(graph, mapping, rank);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Partition, ErrorsNameTheSizesThatWork) {
  const Graph graph = build({.heads = 9, .kv_heads = 3, .vocab = 40});
  EXPECT_THAT(error_of(graph, {.tp_size = 4}), HasSubstr("tp_size 4 does not fit"));
  EXPECT_THAT(error_of(graph, {.tp_size = 4}), HasSubstr("sizes that work: 1, 2, 3, 6, 9"));
  EXPECT_THAT(error_of(graph, {.pp_size = 4}), HasSubstr("1 to 3"));
  EXPECT_THAT(error_of(graph, {.tp_size = 2}, 2), HasSubstr("rank 2 does not exist"));
  EXPECT_THAT(possible_tp_sizes(graph, 8), ElementsAre(1, 2, 3, 6));
}

TEST(Partition, RefusesWhatItCannotCut) {
  GraphBuilder b("decoder");
  b.axis("features", {8, 0, 1});
  const ValueId x = b.input("x", ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 4}));
  const WeightId w = b.weight("w", {8, 4}, {{"features", 0, 1, false}});
  const WeightId bias = b.weight("bias", {8});
  b.output(b.add1(Linear{.has_bias = true}, {x}, {w, bias}, "y"), "y");
  EXPECT_THAT(error_of(b.finish(), {.tp_size = 2}), HasSubstr("its bias \"bias\" must be marked"));
}

TEST(Partition, RowLinearOfAWholeInputTakesItsColumns) {
  GraphBuilder b("row");
  b.axis("in", {5, 0, 1});
  const ValueId x = b.input("ids", ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 5}));
  const WeightId w = b.weight("w", {3, 5}, {{"in", 1, 1, false}});
  b.output(b.add1(Linear{}, {x}, {w}, "y"), "logits");
  const Graph graph = b.finish();
  const auto weights = random_weights(graph);
  interpreter::Step step;
  step.inputs["ids"] = interpreter::Array(2, 5);
  for (std::size_t i = 0; i < 10; ++i) step.inputs["ids"].data[i] = static_cast<float>(i) - 4.F;
  const Mapping mapping = checked_mapping({.tp_size = 2});
  const auto expected = interpreter::single(graph, weights).step(step);
  expect_same({interpreter::Ranks(parts_of(graph, mapping), mapping, weights).step(step)},
              {expected});
}

TEST(CutAxis, GroupsStayWholeUntilThereAreMoreRanks) {
  const ShardAxis heads{9, 3, 1};
  EXPECT_EQ(cut_axis("heads", heads, 2, 0, false), (Range{0, 6}));
  EXPECT_EQ(cut_axis("heads", heads, 2, 1, true), (Range{2, 3}));
  EXPECT_EQ(cut_axis("heads", heads, 6, 3, false), (Range{5, 6}));
  EXPECT_EQ(cut_axis("heads", heads, 6, 3, true), (Range{1, 2}));
  EXPECT_EQ(cut_axis("heads", heads, 1, 0, true), (Range{0, 3}));
  EXPECT_THROW(cut_axis("heads", heads, 4, 0, false), Error);
  EXPECT_THROW(cut_axis("heads", heads, 12, 0, false), Error);
}

TEST(CutAxis, CutsFallOnGranules) {
  EXPECT_EQ(cut_axis("features", {100, 0, 32}, 3, 0, false), (Range{0, 64}));
  EXPECT_EQ(cut_axis("features", {100, 0, 32}, 3, 2, false), (Range{96, 100}));
  EXPECT_THROW(cut_axis("features", {100, 0, 32}, 5, 0, false), Error);
  // Groups of 3 heads, cut at pairs of heads: two groups stay together.
  EXPECT_EQ(cut_axis("heads", {12, 4, 2}, 2, 1, false), (Range{6, 12}));
  EXPECT_EQ(cut_axis("heads", {12, 4, 2}, 2, 1, true), (Range{2, 4}));
  EXPECT_THROW(cut_axis("heads", {12, 4, 2}, 4, 0, false), Error);
}

}  // namespace
}  // namespace tenon
