// The verifier finds each way in which a graph can be wrong.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "graph/partition.h"
#include "graph/passes.h"
#include "mini_llama.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using testing::HasSubstr;

/// The error after `damage` was done to a good graph.
std::string after(const std::function<void(Graph&)>& damage, bool stored = false) {
  Graph graph = build({});
  verify(graph, true);
  damage(graph);
  try {
    verify(graph, stored);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("graph"));
    return error.what();
  }
  return "no error";
}

Node& node_of(Graph& graph, const std::string& output) {
  const auto producer = uses_of(graph).producer;
  return graph.nodes.at(
      static_cast<std::size_t>(producer.at(static_cast<std::size_t>(graph.find_value(output)))));
}

TEST(Verify, Ids) {
  EXPECT_THAT(after([](Graph& g) { g.nodes[3].inputs[0] = -1; }), HasSubstr("names value -1"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[3].inputs[0] = 100000; }), HasSubstr("value 100000"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[0].weights[0] = 4711; }), HasSubstr("weight 4711"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[0].outputs[0] = -7; }), HasSubstr("value -7"));
  EXPECT_THAT(after([](Graph& g) { g.outputs.push_back(-2); }), HasSubstr("the outputs name"));
  EXPECT_THAT(after([](Graph& g) { g.inputs.push_back(900); }), HasSubstr("the inputs name"));
}

TEST(Verify, OrderAndProducers) {
  EXPECT_THAT(after([](Graph& g) { std::swap(g.nodes[1], g.nodes[5]); }),
              HasSubstr("before it is made"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[1].inputs[0] = g.nodes[1].outputs[0]; }),
              HasSubstr("before it is made"));  // a cycle
  EXPECT_THAT(after([](Graph& g) { g.nodes.push_back(g.nodes.back()); }),
              HasSubstr("already made"));
  EXPECT_THAT(after([](Graph& g) { g.values.push_back({"orphan", g.values[0].type}); }),
              HasSubstr("\"orphan\" is made by no node"));
  EXPECT_THAT(after([](Graph& g) { g.outputs.push_back(g.outputs[0]); }), HasSubstr("named twice"));
  EXPECT_THAT(after([](Graph& g) { g.inputs.push_back(g.inputs[0]); }), HasSubstr("named twice"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[2].outputs.clear(); }), HasSubstr("has 0 outputs"));
}

TEST(Verify, NamesAndTypes) {
  EXPECT_THAT(after([](Graph& g) { g.values[4].name = g.values[5].name; }),
              HasSubstr("two values"));
  EXPECT_THAT(after([](Graph& g) { g.weights[1].name = g.weights[2].name; }),
              HasSubstr("two weights"));
  EXPECT_THAT(after([](Graph& g) { g.values[4].name = "a\nb"; }), HasSubstr("control character"));
  EXPECT_THAT(after([](Graph& g) { g.values[4].name = "\xFF"; }), HasSubstr("UTF-8"));
  EXPECT_THAT(after([](Graph& g) { g.values[4].type.shape[1] = 3; }), HasSubstr("gives float32"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[1].op = Add{}; }), HasSubstr("[add] has 1 inputs"));
  EXPECT_THAT(after([](Graph& g) { g.nodes[5].layer = 3; }), HasSubstr("of layer 3, there are 3"));
}

TEST(Verify, WeightsAndAxes) {
  EXPECT_THAT(after([](Graph& g) { g.weights[0].shape[0] = 0; }), HasSubstr("positive extents"));
  EXPECT_NE(after([](Graph& g) { g.weights.push_back({"huge", {1LL << 40, 1LL << 40}, {}, {}}); }),
            "no error");
  EXPECT_THAT(after([](Graph& g) { g.weights[0].marks[0].axis = "nowhere"; }),
              HasSubstr("unknown axis"));
  EXPECT_THAT(after([](Graph& g) { g.weights[0].marks[0].dim = 2; }), HasSubstr("dimension 2"));
  EXPECT_THAT(after([](Graph& g) { g.weights[0].marks[0].extent_per_unit = 2; }),
              HasSubstr("does not fit axis"));
  EXPECT_THAT(after([](Graph& g) { g.weights[0].marks.push_back(g.weights[0].marks[0]); }),
              HasSubstr("marked twice"));
  EXPECT_THAT(after([](Graph& g) { g.axes["heads"].groups = 4; }), HasSubstr("do not divide"));
  EXPECT_THAT(after([](Graph& g) { g.axes["heads"].granule = 0; }), HasSubstr("granule 0"));
  EXPECT_THAT(after([](Graph& g) { g.weights[0].cut = {{0, 1}}; }), HasSubstr("1 dimensions"));
  EXPECT_THAT(after(
                  [](Graph& g) {
                    const Shape shape = g.weights[0].shape;
                    g.weights[0].cut = {{0, shape[0]}, {0, shape[1]}};
                  },
                  true),
              HasSubstr("stored graph"));
}

TEST(Verify, Caches) {
  const auto attention = [](Graph& g) -> Attention& {
    return std::get<Attention>(node_of(g, "layers.1.mixed").op);
  };
  EXPECT_THAT(after([&](Graph& g) { attention(g).cache_layer = 0; }),
              HasSubstr("reads cache_layer 0"));
  EXPECT_THAT(after([](Graph& g) {
                std::get<CacheWrite>(node_of(g, "layers.1.cache").op).cache_layer = 0;
              }),
              HasSubstr("which another node writes"));
  EXPECT_THAT(after([](Graph& g) { g.outputs.push_back(g.find_value("layers.1.cache")); }),
              HasSubstr("is a cache"));
}

TEST(Verify, StoredGraphsArePlain) {
  const auto fused = [](Graph& g) { merge_linears(g, {}); };
  EXPECT_EQ(after(fused), "no error");
  EXPECT_THAT(after(fused, true), HasSubstr("only passes make"));
  const auto cut = [](Graph& g) { g = partition(g, {.tp_size = 2}, 0); };
  EXPECT_EQ(after(cut), "no error");
  EXPECT_THAT(after(cut, true), HasSubstr("stored graph"));
}

}  // namespace
}  // namespace tenon
