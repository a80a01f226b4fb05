// Each pass: what it makes of a graph, that the numbers stay, and that taps stop it.
// SPDX-License-Identifier: Apache-2.0
#include "graph/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mini_llama.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using testing::HasSubstr;

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const Pass& pass : all_passes()) names.emplace_back(pass.name);
  return names;
}

/// Runs `passes` with `taps` attached; checks outputs and taps against the plain graph.
Graph checked(const MiniLlama& model, const std::vector<std::string>& passes,
              const Taps& taps = {}) {
  Graph plain = build(model);
  attach_taps(plain, taps);
  Graph graph = plain;
  run_passes(graph, passes, taps);
  const auto weights = random_weights(plain);
  expect_same(run_steps(interpreter::single(graph, weights), model),
              run_steps(interpreter::single(plain, weights), model));
  return graph;
}

TEST(Passes, AddNorm) {
  const Graph graph = checked({}, {"fuse_add_norm"});
  EXPECT_EQ(count_ops(graph, "add_norm"), 5);  // the last sum is gathered by rows first
  EXPECT_EQ(count_ops(graph, "norm"), 2);
  EXPECT_EQ(count_ops(graph, "add"), 1);
  const Graph tapped = checked({}, {"fuse_add_norm"}, {"layers.0.after_attention"});
  EXPECT_EQ(count_ops(tapped, "add_norm"), 5);  // it gives the sum too
}

TEST(Passes, MergeLinears) {
  for (const bool bias : {false, true}) {
    const Graph graph = checked({.qkv_bias = bias}, {"merge_linears"});
    EXPECT_EQ(count_ops(graph, "linear"), 3 * 4 + 1);
  }
  checked({}, {"merge_linears"}, {"layers.1.k", "layers.1.up"});
}

TEST(Passes, GatedLinear) {
  for (const bool bias : {false, true}) {
    const Graph graph = checked({.qkv_bias = bias}, {"fuse_gated_linear"});
    EXPECT_EQ(count_ops(graph, "gated_linear"), 3);
    EXPECT_EQ(count_ops(graph, "gated_activation"), 0);
    EXPECT_EQ(graph.find_value("layers.0.gate"), kNoId);
  }
  const Graph tapped = checked({}, {"fuse_gated_linear"}, {"layers.1.gate"});
  EXPECT_EQ(count_ops(tapped, "gated_linear"), 2);
}

TEST(Passes, GatedLinearFromTwoSegments) {
  Graph graph = build({.qkv_bias = true});
  const auto weights = random_weights(graph);
  const auto expected = run_steps(interpreter::single(graph, weights), {});
  merge_linears(graph, {});
  fuse_gated_linear(graph, {});
  verify(graph);
  EXPECT_EQ(count_ops(graph, "gated_linear"), 3);
  expect_same(run_steps(interpreter::single(graph, weights), {}), expected);
}

TEST(Passes, RopeCacheWrite) {
  const Graph graph = checked({}, {"fuse_rope_cache_write"});
  EXPECT_EQ(count_ops(graph, "rope_cache_write"), 3);
  EXPECT_EQ(count_ops(graph, "rope"), 0);
  const Graph tapped =
      checked({}, {"fuse_rope_cache_write"}, {"layers.0.q_rotated", "layers.1.k_rotated"});
  EXPECT_EQ(count_ops(tapped, "rope_cache_write"), 2);  // a rotated q stays a value
  const Graph alibi = checked({.alibi = true}, {"fuse_rope_cache_write"});
  EXPECT_EQ(count_ops(alibi, "cache_write"), 3);
}

TEST(Passes, FoldScales) {
  const Graph graph = checked({.scale_q = true}, {"fold_scales"});
  EXPECT_EQ(count_ops(graph, "scale"), 0);
  for (const Node& node : graph.nodes)
    if (const auto* attention = std::get_if<Attention>(&node.op)) {
      EXPECT_FLOAT_EQ(attention->scale, 0.6F);
    }
  const Graph before = checked({.scale_q = true}, {"fold_scales"}, {"layers.0.q_half"});
  EXPECT_EQ(count_ops(before, "scale"), 1);
  const Graph rotated = checked({.scale_q = true}, {"fold_scales"}, {"layers.0.q_rotated"});
  EXPECT_EQ(count_ops(rotated, "scale"), 1);
  const Graph whole = checked({.alibi = true, .scale_q = true}, {"fold_scales"});
  EXPECT_EQ(count_ops(whole, "scale"), 0);  // Scale of Scale, then into Attention
}

ValueType rows(std::int64_t width) {
  return ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, width});
}

TEST(Passes, FoldScalesChains) {
  GraphBuilder b("chain");
  const ValueId x = b.input("x", rows(4));
  ValueId y = x;
  for (int i = 0; i < 9; ++i)
    y = b.add1(Scale{i % 3 == 0 ? 1.F : 2.F}, {y}, {}, "y" + std::to_string(i));
  const ValueId other = b.add1(Scale{1.F}, {y}, {}, "other");
  b.output(b.add1(Add{}, {y, other}, {}, "sum"), "sum");
  b.output(b.add1(Scale{1e38F}, {b.add1(Scale{1e38F}, {x}, {}, "big")}, {}, "bigger"), "bigger");
  Graph graph = b.finish();
  run_passes(graph, std::vector<std::string>{"fold_scales"}, {});
  EXPECT_EQ(count_ops(graph, "scale"), 3) << print(graph);  // their product would not be finite
  EXPECT_THAT(print(graph), HasSubstr("factor=64"));
}

TEST(Passes, OnesLeaveTheGraphButNotItsOutputs) {
  GraphBuilder b("ones");
  b.output(b.add1(Scale{1.F}, {b.input("x", rows(4))}, {}, "y"), "y");
  Graph graph = b.finish();
  run_passes(graph, std::vector<std::string>{"fold_scales"}, {});
  EXPECT_EQ(count_ops(graph, "scale"), 1);
}

TEST(Passes, RemoveDeadNodes) {
  GraphBuilder b("dead");
  const ValueId x = b.input("x", rows(4));
  b.add1(Scale{3.F}, {b.add1(Scale{2.F}, {x}, {}, "dead")}, {}, "deader");
  b.add1(Linear{}, {x}, {b.weight("unused", {2, 4})}, "tapped");
  b.add1(CacheWrite{0, 1, 4}, {x, x}, {}, "cache");
  b.output(b.add1(Scale{2.F}, {x}, {}, "y"), "y");
  const Graph plain = b.finish();
  Graph graph = plain;
  run_passes(graph, std::vector<std::string>{"remove_dead_nodes"}, {"tapped"});
  EXPECT_EQ(graph.nodes.size(), 3U);
  graph = plain;
  run_passes(graph, std::vector<std::string>{"remove_dead_nodes"}, {});
  EXPECT_EQ(graph.nodes.size(), 2U);
  EXPECT_TRUE(graph.weights.empty());
  EXPECT_EQ(graph.find_value("dead"), kNoId);
}

TEST(Passes, AllTogether) {
  const Graph graph = checked({.qkv_bias = true, .row_bias = true, .scale_q = true}, all_names());
  EXPECT_EQ(count_ops(graph, "linear"), 3 * 3 + 1);  // qkv, o, down; head
  EXPECT_EQ(count_ops(graph, "gated_linear"), 3);
  EXPECT_EQ(count_ops(graph, "rope_cache_write"), 3);
  EXPECT_EQ(count_ops(graph, "add_norm"), 5);
  EXPECT_EQ(count_ops(graph, "scale"), 0);
  checked({.tied = true,
           .alibi = true,
           .relative_bias = true,
           .scale_q = true,
           .norm_of_q = true,
           .output_keys = true},
          all_names());
}

TEST(Passes, EveryValueCanBeTapped) {
  const MiniLlama model{.layers = 2, .qkv_bias = true, .scale_q = true};
  const Graph plain = build(model);
  Taps all;
  for (const Value& value : plain.values)
    if (value.type.kind == ValueKind::kTensor && value.type.dtype == DataType::kFloat32)
      all.insert(value.name);
  checked(model, all_names(), all);
  for (const std::string& one : all) {
    SCOPED_TRACE(one);
    checked(model, all_names(), {one});
  }
}

TEST(Passes, UnknownNamesAreErrors) {
  Graph graph = build({});
  const std::vector<std::string> names = {"merge_linear"};
  try {
    run_passes(graph, names, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean \"merge_linears\""));
  }
  try {
    attach_taps(graph, {"layers.0.gait"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("did you mean \"layers.0.gate\""));
  }
  EXPECT_THROW(attach_taps(graph, {"layers.0.cache"}), Error);
}

TEST(Slice, ALayerAloneGivesWhatItGaveInside) {
  const MiniLlama model;
  Graph graph = build(model);
  const Graph layer = graph.slice(1);
  verify(layer);
  EXPECT_EQ(layer.name, "decoder.layers.1");
  EXPECT_EQ(layer.outputs.size(), 1U);
  const auto weights = random_weights(graph);
  attach_taps(graph, {"layers.0.after_mlp", "layers.1.after_mlp"});
  auto inside = interpreter::single(graph, weights);
  auto alone = interpreter::single(layer, weights);
  for (interpreter::Step step : steps_of(model)) {
    const auto outputs = inside.step(step);
    step.inputs["layers.0.after_mlp"] = outputs.at("layers.0.after_mlp");
    const auto got = alone.step(step);
    EXPECT_EQ(got.at("layers.1.after_mlp").data, outputs.at("layers.1.after_mlp").data);
  }
  EXPECT_THROW(graph.slice(3), Error);
  EXPECT_THROW(graph.slice(-1), Error);
}

}  // namespace
}  // namespace tenon
